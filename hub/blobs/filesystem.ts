import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { digestAlgorithm, digestHex } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { makeDurableFolder } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { PENDING_BLOBS_MAX } from './constants.ts';
import { BlobStoreError } from './errors.ts';
import { nodeFileOps } from './file-ops.ts';
import type { FileOps } from './file-ops.ts';
import { storeFault } from './faults.ts';
import { PendingFile, readFully } from './pending-file.ts';
import type { BlobStore, OpenBlob, PendingBlob } from './port.ts';

// <root>/
//   blobs/<algorithm>/<first two hex digits>/<all hex digits>   a committed blob, never changed
//   uploads/<random id>                                         a blob in the making
//
// Both folders are on one filesystem, so that a rename is atomic. What is in uploads/ belongs to a
// process that is gone and is removed at start. One root belongs to one process.

const SHARD_DIGITS = 2;
const PROBE = Buffer.from('probe');

/** Blobs as files under `root`. */
export class FilesystemBlobStore implements BlobStore {
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
   * Opens the store, makes its folders and removes what unfinished uploads of an earlier process
   * left behind.
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
      for (const name of await files.list(store.#uploads)) {
        await files.remove(join(store.#uploads, name));
      }
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

  async begin(): Promise<PendingBlob> {
    if (this.#pending.size + this.#beginning >= this.#pendingMax) {
      throw new BlobStoreError(
        `${this.#pendingMax} uploads are open, which is the limit; finish or cancel some`,
        { code: 'PENDING_LIMIT', max: this.#pendingMax },
      );
    }
    const id = randomUUID();
    const path = join(this.#uploads, id);
    this.#beginning += 1;
    try {
      const handle = await this.#files.create(path);
      const pending = new PendingFile({ id, path, handle }, this.#files, {
        place: (digest) => this.#place(path, digest),
        closed: () => this.#pending.delete(id),
      });
      this.#pending.set(id, pending);
      return pending;
    } catch (err) {
      throw storeFault(err, path);
    } finally {
      this.#beginning -= 1;
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

  /**
   * Finds out whether a blob could be stored now.
   * @throws BlobStoreError NO_SPACE, STORE_IO
   */
  async probe(): Promise<void> {
    const pending = await this.begin();
    try {
      await pending.append([PROBE]);
    } finally {
      await pending.discard();
    }
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#pending.values(), (pending) => pending.discard()));
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
