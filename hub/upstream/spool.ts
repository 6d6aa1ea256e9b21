import { mkdir, open, readdir, rm, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { hasCode } from '../../proto/std/errors.ts';
import { storeFault } from '../blobs/faults.ts';
import { readFully } from '../blobs/pending-file.ts';
import { SPOOL_SWEEP_MS } from './pull-constants.ts';

const NAME = /^[0-9a-f-]{36}$/;

/** Bytes of blobs on their way, for readers here, where the store cannot be read before its end. */
export class SpoolFolder {
  readonly #folder: string;
  readonly #now: () => number;
  readonly #known: (ids: readonly string[]) => Promise<ReadonlySet<string>>;
  readonly #inUse = new Set<string>();
  #sweptMs = Number.NEGATIVE_INFINITY;

  /** `known` tells which of these blobs somebody goes on with. */
  constructor(
    options: { folder: string; now: () => number },
    modules: { known: (ids: readonly string[]) => Promise<ReadonlySet<string>> },
  ) {
    this.#folder = options.folder;
    this.#now = options.now;
    this.#known = modules.known;
  }

  /**
   * Removes what nobody goes on with, unless that was done a moment ago: blobs that were given up,
   * or that another hub went on with. @throws BlobStoreError
   */
  async sweep(): Promise<void> {
    const nowMs = this.#now();
    if (nowMs - this.#sweptMs < SPOOL_SWEEP_MS) return;
    this.#sweptMs = nowMs;
    try {
      await mkdir(this.#folder, { recursive: true });
      const names = (await readdir(this.#folder)).filter((name) => NAME.test(name));
      const wanted = await this.#known(names);
      for (const name of names) {
        if (!wanted.has(name) && !this.#inUse.has(name)) await this.#remove(name);
      }
    } catch (err) {
      throw storeFault(err, this.#folder);
    }
  }

  /** A new one for the bytes from `base` on. @throws BlobStoreError NO_SPACE, STORE_IO */
  async create(id: string, base: number): Promise<Spool> {
    await this.sweep();
    const file = path.join(this.#folder, id);
    this.#inUse.add(id);
    try {
      await mkdir(this.#folder, { recursive: true });
      return this.#spool(id, await open(file, 'w+'), { base, size: base });
    } catch (err) {
      this.#inUse.delete(id);
      throw storeFault(err, file);
    }
  }

  /** What is left of one that has so many bytes; undefined when it has fewer. */
  async reopen(id: string, size: number): Promise<Spool | undefined> {
    const file = path.join(this.#folder, id);
    try {
      const handle = await open(file, 'r+');
      if ((await handle.stat()).size >= size) return this.#spool(id, handle, { base: 0, size });
      await handle.close();
      return undefined;
    } catch (err) {
      if (hasCode(err, 'ENOENT')) return undefined;
      throw storeFault(err, file);
    }
  }

  #spool(id: string, handle: FileHandle, extent: { base: number; size: number }): Spool {
    this.#inUse.add(id);
    const closed = (): void => void this.#inUse.delete(id);
    return new Spool({ ...extent, file: path.join(this.#folder, id) }, { handle, closed });
  }

  #remove(name: string): Promise<void> {
    return rm(path.join(this.#folder, name), { force: true });
  }
}

/** One file of the folder. Not durable: what is read of it after a restart is checked first. */
export class Spool {
  readonly #file: string;
  readonly #handle: FileHandle;
  readonly #closed: () => void;
  readonly #base: number;
  #size: number;

  /** `base`: where in the blob its first byte is; `size`: of the blob so far. */
  constructor(
    options: { file: string; base: number; size: number },
    modules: { handle: FileHandle; closed: () => void },
  ) {
    this.#file = options.file;
    this.#base = options.base;
    this.#size = options.size;
    this.#handle = modules.handle;
    this.#closed = modules.closed;
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
    this.#closed();
  }
}
