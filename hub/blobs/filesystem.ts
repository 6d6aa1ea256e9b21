import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { BLOB_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { digestAlgorithm, digestHex } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { makeDurableFolder } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { PENDING_BLOBS_MAX } from './constants.ts';
import { BlobStoreError } from './errors.ts';
import { nodeFileOps } from './file-ops.ts';
import type { FileOps, StoreFile } from './file-ops.ts';
import { storeFault } from './faults.ts';
import { PendingFile, readFully } from './pending-file.ts';
import { parseState } from './pending-state.ts';
import type { BlobStore, OpenBlob, PendingBlob, PendingState } from './port.ts';

// <root>/
//   blobs/<algorithm>/<first two hex digits>/<all hex digits>   a committed blob, never changed
//   uploads/<random id>                                         a blob in the making
//
// Both folders are on one filesystem, so that a rename is atomic. What an earlier process left in
// uploads/ stays for those who go on with it, until a sweep finds that nobody does.

const SHARD_DIGITS = 2;
const PENDING_ID = /^[0-9a-f-]{36}$/;
const PROBE = Buffer.from('probe');

/** Blobs as files under `root`. */
export class FilesystemBlobStore implements BlobStore {
  readonly sizeMax = BLOB_MAX_BYTES;
  readonly #blobs: string;
  readonly #uploads: string;
  readonly #files: FileOps;
  readonly #pending = new Map<string, PendingFile>();
  readonly #pendingMax: number;
  /** Files being created, which are not in `#pending` yet. */
  #beginning = 0;

  private constructor(root: string, files: FileOps, pendingMax: number) {
    this.#blobs = join(root, 'blobs');
    this.#uploads = join(root, 'uploads');
    this.#files = files;
    this.#pendingMax = pendingMax;
  }

  /**
   * Opens the store and makes its folders.
   * @throws BlobStoreError NO_SPACE, STORE_IO
   */
  static async open(
    options: { root: string; pendingMax?: number },
    modules: { files?: FileOps } = {},
  ): Promise<FilesystemBlobStore> {
    const files = modules.files ?? nodeFileOps;
    const pendingMax = options.pendingMax ?? PENDING_BLOBS_MAX;
    const store = new FilesystemBlobStore(options.root, files, pendingMax);
    try {
      await makeDurableFolder(options.root, files);
      for (const folder of [store.#blobs, store.#uploads]) await store.#ensureFolder(folder);
    } catch (err) {
      throw storeFault(err, options.root);
    }
    return store;
  }

  async stat(digest: Digest): Promise<{ size: number } | undefined> {
    const path = this.#pathOf(digest);
    try {
      return { size: await this.#files.size(path) };
    } catch (err) {
      if (hasCode(err, 'ENOENT')) return undefined;
      throw storeFault(err, path);
    }
  }

  async open(digest: Digest): Promise<OpenBlob | undefined> {
    const path = this.#pathOf(digest);
    try {
      const file = await this.#files.open(path);
      try {
        const { size } = await file.stat();
        return {
          size,
          read: (into, position) => readFully(file, path, into, position),
          // Every byte was read; what closing may say changes nothing.
          [Symbol.asyncDispose]: () => file.close().catch(() => undefined),
        };
      } catch (err) {
        await file.close().catch(() => undefined);
        throw err;
      }
    } catch (err) {
      if (hasCode(err, 'ENOENT')) return undefined;
      throw storeFault(err, path);
    }
  }

  begin(): Promise<PendingBlob> {
    const id = randomUUID();
    return this.#entering(async () =>
      this.#keep(id, await this.#files.create(join(this.#uploads, id)), 0),
    );
  }

  async resume(state: PendingState): Promise<PendingBlob | undefined> {
    const wanted = parkedFile(state);
    if (wanted === undefined) return undefined;
    await this.#pending.get(wanted.id)?.release();
    return this.#entering(() => this.#reopen(wanted));
  }

  async sweep({ beforeMs, known }: Parameters<BlobStore['sweep']>[0]): Promise<number> {
    try {
      const old: string[] = [];
      for (const name of await this.#files.list(this.#uploads)) {
        if ((await this.#changedMs(name)) < beforeMs) old.push(name);
      }
      const wanted = await known(old);
      const unknown = old.filter((name) => !wanted.has(name) && !this.#pending.has(name));
      for (const name of unknown) await this.#files.remove(join(this.#uploads, name));
      return unknown.length;
    } catch (err) {
      throw storeFault(err, this.#uploads);
    }
  }

  async remove(digest: Digest): Promise<boolean> {
    const path = this.#pathOf(digest);
    try {
      await this.#files.remove(path);
      await this.#files.syncFolder(dirname(path));
      return true;
    } catch (err) {
      if (hasCode(err, 'ENOENT')) return false;
      throw storeFault(err, path);
    }
  }

  async probe(): Promise<void> {
    const pending = await this.begin();
    try {
      await pending.append([PROBE]);
    } finally {
      await pending.discard();
    }
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#pending.values(), (pending) => pending.release()));
  }

  /** Runs what adds a pending blob, within the bound on their number. */
  async #entering<T>(task: () => Promise<T>): Promise<T> {
    if (this.#pending.size + this.#beginning >= this.#pendingMax) {
      throw new BlobStoreError(
        `${this.#pendingMax} uploads are open, which is the limit; finish or cancel some`,
        { code: 'PENDING_LIMIT', max: this.#pendingMax },
      );
    }
    this.#beginning += 1;
    try {
      return await task();
    } catch (err) {
      throw storeFault(err, this.#uploads);
    } finally {
      this.#beginning -= 1;
    }
  }

  #keep(id: string, handle: StoreFile, size: number): PendingFile {
    const path = join(this.#uploads, id);
    const pending: PendingFile = new PendingFile({ id, path, handle, size }, this.#files, {
      place: (digest) => this.#place(path, digest),
      closed: () => {
        if (this.#pending.get(id) === pending) this.#pending.delete(id);
      },
    });
    this.#pending.set(id, pending);
    return pending;
  }

  async #reopen({ id, size }: { id: string; size: number }): Promise<PendingBlob | undefined> {
    const handle = await this.#files.reopen(join(this.#uploads, id)).catch((err: unknown) => {
      if (hasCode(err, 'ENOENT')) return undefined;
      throw err;
    });
    if (handle === undefined) return undefined;
    try {
      const found = (await handle.stat()).size;
      // What came after the last answer may be whole or not; the client sends it again.
      if (found > size) await handle.truncate(size);
      if (found >= size) return this.#keep(id, handle, size);
    } catch (err) {
      await handle.close().catch(() => undefined);
      throw err;
    }
    await handle.close().catch(() => undefined);
    return undefined;
  }

  /** Of a file that was removed meanwhile: never. */
  async #changedMs(name: string): Promise<number> {
    try {
      return await this.#files.changedMs(join(this.#uploads, name));
    } catch (err) {
      if (hasCode(err, 'ENOENT')) return Number.POSITIVE_INFINITY;
      throw err;
    }
  }

  #pathOf(digest: Digest): string {
    const hex = digestHex(digest);
    return join(this.#blobs, digestAlgorithm(digest), hex.slice(0, SHARD_DIGITS), hex);
  }

  /** The synced file at `from` becomes the blob. An older file of the same digest is replaced. */
  async #place(from: string, digest: Digest): Promise<void> {
    const path = this.#pathOf(digest);
    const shard = dirname(path);
    await this.#ensureFolder(dirname(shard));
    await this.#ensureFolder(shard);
    await this.#files.rename(from, path);
    await this.#files.syncFolder(shard);
  }

  // The parent is synced although the folder may exist: another commit may have made it this
  // moment and not have come to its own sync.
  async #ensureFolder(path: string): Promise<void> {
    await this.#files.makeFolder(path);
    if (!this.#durableFolders.has(path)) {
      await this.#files.syncFolder(dirname(path));
      this.#durableFolders.add(path);
    }
  }

  /** At most 2 + 256 for each digest algorithm. */
  readonly #durableFolders = new Set<string>();
}

/** Undefined for a state that this driver has not written. */
function parkedFile(state: PendingState): { id: string; size: number } | undefined {
  const { id, size } = parseState(state);
  if (typeof id !== 'string' || !PENDING_ID.test(id)) return undefined;
  return typeof size === 'number' && Number.isSafeInteger(size) ? { id, size } : undefined;
}
