import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { BITMAP_PERSIST_BYTES, BITMAP_PERSIST_MS } from './constants.ts';

/**
 * Writes a blob's bitmap after 64 MiB of new chunks or 5 s, one write at a time. A failed write is
 * tried again 5 s later: losing bits costs a download, never correctness.
 */
export class BitmapSaver {
  readonly #save: (clean: boolean) => Promise<void>;
  readonly #logger: Logger;
  #unsavedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #ended = false;

  constructor(save: (clean: boolean) => Promise<void>, logger: Logger) {
    this.#save = save;
    this.#logger = logger;
  }

  changed(bytes: number): void {
    this.#unsavedBytes += bytes;
    if (this.#unsavedBytes >= BITMAP_PERSIST_BYTES) void this.#saveSoon();
    else this.#saveLater();
  }

  /** Saves now and stops; `clean` says that all data is known to be flushed. */
  async finish(clean: boolean): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
    this.#unsavedBytes = 0;
    await this.#save(clean);
  }

  /** Stops without saving, for a blob that is removed. */
  async abandon(): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  async #saveSoon(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#running !== undefined) return;
    const saving = this.#unsavedBytes;
    this.#unsavedBytes = 0;
    this.#running = this.#trySave(saving);
    await this.#running;
    this.#running = undefined;
    // What came meanwhile, or failed, is saved even if no further chunk ever comes.
    if (this.#unsavedBytes > 0 && !this.#ended) this.#saveLater();
  }

  #saveLater(): void {
    this.#timer ??= setTimeout(() => void this.#saveSoon(), BITMAP_PERSIST_MS);
    this.#timer.unref();
  }

  async #trySave(saving: number): Promise<void> {
    try {
      await this.#save(false);
    } catch (err) {
      this.#unsavedBytes += saving;
      this.#logger.warn({ reason: messageOf(err) }, 'chunk bitmap not saved, trying again');
    }
  }
}
