import type { Digest } from '../../proto/oci/digest.ts';
import { WRITE_SLICES_MAX } from './constants.ts';
import { BlobStoreError } from './errors.ts';
import type { FileOps, StoreFile } from './file-ops.ts';
import { storeFault } from './faults.ts';
import type { PendingBlob, PendingState } from './port.ts';

type PendingOptions = { id: string; path: string; handle: StoreFile; size: number };
type PendingHooks = {
  /** Moves the synced file to its place, durably. */
  place(digest: Digest): Promise<void>;
  closed(): void;
};

/** One file in the uploads folder. */
export class PendingFile implements PendingBlob {
  readonly id: string;
  readonly #path: string;
  readonly #handle: StoreFile;
  readonly #files: Pick<FileOps, 'remove'>;
  readonly #hooks: PendingHooks;
  #size: number;
  #state: 'open' | 'failed' | 'closed' = 'open';

  constructor(options: PendingOptions, files: Pick<FileOps, 'remove'>, hooks: PendingHooks) {
    this.id = options.id;
    this.#path = options.path;
    this.#handle = options.handle;
    this.#size = options.size;
    this.#files = files;
    this.#hooks = hooks;
  }

  get size(): number {
    return this.#size;
  }

  async park(): Promise<PendingState> {
    this.#assertOpen();
    return JSON.stringify({ id: this.id, size: this.#size });
  }

  async append(slices: readonly Uint8Array[]): Promise<void> {
    this.#assertOpen();
    try {
      for (let i = 0; i < slices.length; i += WRITE_SLICES_MAX) {
        await this.#write(slices.slice(i, i + WRITE_SLICES_MAX));
      }
    } catch (err) {
      this.#state = 'failed';
      throw storeFault(err, this.#path);
    }
  }

  read(into: Uint8Array, position: number): Promise<number> {
    this.#assertOpen();
    return readFully(this.#handle, this.#path, into, position);
  }

  /** Positioned reads of a file disturb no appending; closing the file waits for them. */
  readBeside(into: Uint8Array, position: number): Promise<number> {
    this.#assertOpen();
    return readFully(this.#handle, this.#path, into, position);
  }

  async commit(digest: Digest): Promise<void> {
    this.#assertOpen();
    try {
      await this.#handle.sync();
      await this.#hooks.place(digest);
    } catch (err) {
      this.#state = 'failed';
      await this.discard();
      throw storeFault(err, this.#path);
    }
    this.#state = 'closed';
    this.#hooks.closed();
    // The bytes are durable; what closing may say changes nothing.
    await this.#handle.close().catch(() => undefined);
  }

  async discard(): Promise<void> {
    if (this.#state === 'closed') return;
    await this.release();
    // A file that cannot be removed now is removed by a sweep.
    await this.#files.remove(this.#path).catch(() => undefined);
  }

  async release(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#hooks.closed();
    await this.#handle.close().catch(() => undefined);
  }

  /** A write may be partial, as when the disk fills up; the next one then tells why. */
  async #write(slices: readonly Uint8Array[]): Promise<void> {
    let rest = slices.filter((slice) => slice.length > 0);
    while (rest.length > 0) {
      const { bytesWritten } = await this.#handle.writev(rest, this.#size);
      if (bytesWritten === 0) throw new Error('the system wrote nothing and named no error');
      this.#size += bytesWritten;
      rest = skipBytes(rest, bytesWritten);
    }
  }

  #assertOpen(): void {
    if (this.#state !== 'open') {
      throw new BlobStoreError(`upload ${this.id} takes no more calls`, {
        code: 'PENDING_CLOSED',
        id: this.id,
      });
    }
  }
}

function skipBytes(slices: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = count;
  for (const slice of slices) {
    if (skip < slice.length) rest.push(slice.subarray(skip));
    skip = Math.max(0, skip - slice.length);
  }
  return rest;
}

/**
 * Reads until `into` is full or the file ends; returns the bytes read.
 * @throws BlobStoreError STORE_IO
 */
export async function readFully(
  file: StoreFile,
  path: string,
  into: Uint8Array,
  position: number,
): Promise<number> {
  let done = 0;
  try {
    while (done < into.length) {
      const { bytesRead } = await file.read(into, done, into.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
  } catch (err) {
    throw storeFault(err, path);
  }
  return done;
}
