import { mkdir, open, readdir, rm, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { hasCode } from '../../proto/std/errors.ts';
import { storeFault } from '../blobs/faults.ts';
import { readFully } from '../blobs/pending-file.ts';

const NAME = /^[0-9a-f-]{36}$/;

/** Bytes of blobs on their way, for readers here, where the store cannot be read before its end. */
export class SpoolFolder {
  readonly #folder: string;

  constructor(options: { folder: string }) {
    this.#folder = options.folder;
  }

  /** Removes what nobody goes on with. @throws BlobStoreError */
  async open(known: (ids: readonly string[]) => Promise<ReadonlySet<string>>): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true });
      const names = (await readdir(this.#folder)).filter((name) => NAME.test(name));
      const wanted = await known(names);
      for (const name of names) if (!wanted.has(name)) await this.#remove(name);
    } catch (err) {
      throw storeFault(err, this.#folder);
    }
  }

  /** A new one for the bytes from `base` on. @throws BlobStoreError NO_SPACE, STORE_IO */
  async create(id: string, base: number): Promise<Spool> {
    const file = path.join(this.#folder, id);
    try {
      await mkdir(this.#folder, { recursive: true });
      return new Spool(file, await open(file, 'w+'), { base, size: base });
    } catch (err) {
      throw storeFault(err, file);
    }
  }

  /** What is left of one that has so many bytes; undefined when it has fewer. */
  async reopen(id: string, size: number): Promise<Spool | undefined> {
    const file = path.join(this.#folder, id);
    try {
      const handle = await open(file, 'r+');
      if ((await handle.stat()).size >= size) return new Spool(file, handle, { base: 0, size });
      await handle.close();
      return undefined;
    } catch (err) {
      if (hasCode(err, 'ENOENT')) return undefined;
      throw storeFault(err, file);
    }
  }

  #remove(name: string): Promise<void> {
    return rm(path.join(this.#folder, name), { force: true });
  }
}

/** One file of the folder. Not durable: what is read of it after a restart is checked first. */
export class Spool {
  readonly #file: string;
  readonly #handle: FileHandle;
  readonly #base: number;
  #size: number;

  /** `base`: where in the blob its first byte is; `size`: of the blob so far. */
  constructor(file: string, handle: FileHandle, { base, size }: { base: number; size: number }) {
    this.#file = file;
    this.#handle = handle;
    this.#base = base;
    this.#size = size;
  }

  get base(): number {
    return this.#base;
  }

  /** @throws BlobStoreError NO_SPACE, STORE_IO */
  async append(slices: readonly Uint8Array[]): Promise<void> {
    try {
      for (const slice of slices) {
        for (let at = 0; at < slice.length;) {
          const rest = slice.subarray(at);
          const place = this.#size - this.#base;
          const { bytesWritten } = await this.#handle.write(rest, 0, rest.length, place);
          this.#size += bytesWritten;
          at += bytesWritten;
        }
      }
    } catch (err) {
      throw storeFault(err, this.#file);
    }
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return readFully(this.#handle, this.#file, into, position - this.#base);
  }

  /** Waits for reads under way. `keep`: somebody goes on with it after a restart. */
  async close({ keep }: { keep: boolean }): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    if (!keep) await rm(this.#file, { force: true }).catch(() => undefined);
  }
}
