import { readdir, rename, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { isDigest, type Digest } from '../../proto/oci/digest.ts';
import { makeDurableFolder, nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';

/** What a store keeps; without a digest when its place is not that of a blob. */
export type StoredFile = {
  path: string;
  size: number;
  digest?: Digest;
  /** Of a blob in the making: its id, empty when nobody knows it. */
  pending?: string;
  /** When it was last written to, ms since 1970, where that matters. */
  changedMs?: number;
};

/** All that a store keeps, as one sees it who has the store alone. */
export interface FileLister {
  list(): AsyncIterable<StoredFile>;
  /** Bytes that the store has of a blob; without it what the store says of it is true. */
  sizeOf?(digest: Digest): Promise<number | undefined>;
  remove(file: StoredFile): Promise<void>;
  /** Moves what is no blob out of the way and keeps it for people; where it is now. */
  setAside(file: StoredFile): Promise<string>;
  /** The bytes of a blob are lost: nothing is to lead to where they were. */
  forget?(digest: Digest): Promise<void>;
}

/** Files under the blobs of a filesystem store that nobody else has open for writing. */
export class StoredFiles implements FileLister, Disposable {
  readonly #root: string;

  constructor(options: { root: string }) {
    this.#root = options.root;
  }

  /** All files, folder by folder; no more than one folder's names are in memory. */
  async *list(): AsyncGenerator<StoredFile> {
    const blobs = path.join(this.#root, 'blobs');
    for (const algorithm of await namesIn(blobs)) {
      for (const shard of await namesIn(path.join(blobs, algorithm))) {
        for (const name of await namesIn(path.join(blobs, algorithm, shard))) {
          const file = path.join(blobs, algorithm, shard, name);
          const { size } = await stat(file);
          const digest = `${algorithm}:${name}`;
          const known = isDigest(digest) && name.startsWith(shard);
          yield { path: file, size, ...(known ? { digest } : {}) };
        }
      }
    }
    const uploads = path.join(this.#root, 'uploads');
    for (const name of await namesIn(uploads)) {
      const file = path.join(uploads, name);
      const { size, mtimeMs } = await stat(file);
      yield { path: file, size, pending: name, changedMs: mtimeMs };
    }
  }

  async remove(file: StoredFile): Promise<void> {
    await unlink(file.path);
    await nodeFolderOps.syncFolder(path.dirname(file.path));
  }

  /** Moves a file out of the way and keeps it for people to look at; where it is now. */
  async setAside(file: StoredFile): Promise<string> {
    const folder = path.join(this.#root, 'damaged');
    await makeDurableFolder(folder);
    const place = path.join(folder, path.basename(file.path));
    await rename(file.path, place);
    await nodeFolderOps.syncFolder(folder);
    await nodeFolderOps.syncFolder(path.dirname(file.path));
    return place;
  }

  [Symbol.dispose](): void {}
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENOTDIR')) return [];
    throw err;
  }
}
