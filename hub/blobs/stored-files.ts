import { readdir, rename, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { isDigest, type Digest } from '../../proto/oci/digest.ts';
import { makeDurableFolder, nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';

/** A file among the blobs; without a digest when its place is not that of a blob. */
export type StoredFile = { path: string; size: number; digest?: Digest };

/** Files under the blobs of a filesystem store that nobody else has open for writing. */
export class StoredFiles {
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
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENOTDIR')) return [];
    throw err;
  }
}
