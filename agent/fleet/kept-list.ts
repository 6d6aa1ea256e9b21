import { readFile, stat } from 'node:fs/promises';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { parseBody } from '../../proto/hubapi/body.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { writePrivateFile } from './atomic-file.ts';

const KeptFile = Type.Object({
  format: Type.Literal(1),
  /** Base64. */
  items: Type.Array(Type.String()),
});
type KeptFile = Static<typeof KeptFile>;

export type KeptListOptions = {
  path: string;
  /** Items read and written at most; the last ones are kept. */
  itemsMax: number;
  /** A file larger than this is not read. */
  fileMaxBytes: number;
  /** From a change to the file. */
  delayMs: number;
};

/**
 * A list of signed objects in a file, mode 0600, for the next run: written a moment after it
 * changed and when it is closed. Whoever reads it verifies each item again.
 */
export class KeptList {
  readonly #options: KeptListOptions;
  readonly #modules: { items: () => readonly Buffer[]; logger: Logger };
  #written = '';
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    options: KeptListOptions,
    modules: { items: () => readonly Buffer[]; logger: Logger },
  ) {
    this.#options = options;
    this.#modules = modules;
  }

  /** What the last run left; nothing when that cannot be read, which is logged. */
  async load(): Promise<Buffer[]> {
    const { path, itemsMax, fileMaxBytes } = this.#options;
    try {
      const { size } = await stat(path);
      if (size > fileMaxBytes) throw new Error(`${size} bytes are too many`);
      const text = await readFile(path, 'utf8');
      const { items }: KeptFile = parseBody(KeptFile, Buffer.from(text));
      this.#written = text;
      return items.slice(-itemsMax).map((item) => Buffer.from(item, 'base64'));
    } catch (err) {
      if (hasCode(err, 'ENOENT')) return [];
      const fields = { path, reason: messageOf(err) };
      this.#modules.logger.warn(fields, 'file of the last run is damaged, going on without');
      return [];
    }
  }

  /** The list is not what it was: it will be written. */
  changed(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => void this.#write(), this.#options.delayMs).unref();
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#write();
  }

  #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#writeNow());
    return this.#writing;
  }

  async #writeNow(): Promise<void> {
    const { path, itemsMax } = this.#options;
    const { items, logger } = this.#modules;
    const file: KeptFile = {
      format: 1,
      items: items()
        .slice(-itemsMax)
        .map((bytes) => bytes.toString('base64')),
    };
    const text = JSON.stringify(file);
    if (text === this.#written || (this.#written === '' && file.items.length === 0)) return;
    try {
      await writePrivateFile(path, text);
      this.#written = text;
    } catch (err) {
      logger.warn({ path, err }, 'list for the next run is not written; free space there');
    }
  }
}
