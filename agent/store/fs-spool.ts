import { rm } from 'node:fs/promises';
import { StoreError, storeErrorOf } from './errors.ts';
import type { FileCache } from './file-cache.ts';
import { readFully, writeFully } from './files.ts';
import type { Spool, StoredBlob } from './port.ts';

/** A temporary file that may become a blob. */
export class FsSpool implements Spool {
  #written = 0;
  #ended = false;
  #blob: StoredBlob | undefined;
  readonly #path: string;
  readonly #size: number;
  readonly #files: FileCache;
  readonly #adopt: (hashes: Buffer) => Promise<StoredBlob>;
  readonly #release: () => void;

  constructor(
    options: { path: string; size: number },
    modules: {
      files: FileCache;
      /** Moves the file to its name. */
      adopt: (hashes: Buffer) => Promise<StoredBlob>;
      /** Gives the promised bytes back. */
      release: () => void;
    },
  ) {
    this.#path = options.path;
    this.#size = options.size;
    this.#files = modules.files;
    this.#adopt = modules.adopt;
    this.#release = modules.release;
  }

  get written(): number {
    return this.#written;
  }

  async append(bytes: Buffer): Promise<void> {
    const end = this.#written + bytes.length;
    if (end > this.#size) throw outOfRange(`${end} bytes spooled, ${this.#size} were announced`);
    try {
      await this.#files.use(this.#path, (file) => writeFully(file, bytes, this.#written));
    } catch (err) {
      throw storeErrorOf(err, this.#path);
    }
    this.#written = end;
  }

  async read(into: Buffer, position: number): Promise<void> {
    if (position < 0 || position + into.length > this.#written) {
      throw outOfRange(`spool read at ${position}, ${this.#written} bytes written`);
    }
    if (this.#blob !== undefined) return this.#blob.read(into, position);
    await this.#fill(into, position);
    return undefined;
  }

  async commit(verified: { hashes: Buffer }): Promise<StoredBlob> {
    if (this.#written !== this.#size) throw outOfRange('an unfinished spool cannot be kept');
    const blob = await this.#adopt(verified.hashes);
    this.#ended = true;
    this.#blob = blob;
    return blob;
  }

  async discard(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
    await this.#files.forget(this.#path);
    await rm(this.#path, { force: true });
  }

  async #fill(into: Buffer, position: number): Promise<void> {
    let done: number;
    try {
      done = await this.#files.use(this.#path, (file) => readFully(file, into, position));
    } catch (err) {
      throw storeErrorOf(err, this.#path);
    }
    if (done === into.length) return;
    throw new StoreError(`${this.#path} was cut`, { code: 'CORRUPT', path: this.#path });
  }
}

function outOfRange(message: string): StoreError {
  return new StoreError(message, { code: 'OUT_OF_RANGE' });
}
