import { access, chmod, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { makeDurableFolder, nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { sizeOf } from '../backup/folder.ts';
import { slicesOf } from '../backup/slices.ts';
import { isBundleFolder, isBundlePath, LIST_PATH, LOCK_PATH, SIGNATURE_PATH } from './layout.ts';
import type { BundleEntry } from './list.ts';
import { claimTarget, fill, targetExists, type Adding, type BundleTarget } from './target.ts';
import type { Head, OpenContent } from './target.ts';

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const NEW = '.new';

/** A bundle as an OCI image layout in a folder; what is being written has `.new` behind it. */
export class FolderTarget implements BundleTarget {
  readonly #path: string;
  readonly #lock: AsyncDisposable;

  private constructor(place: string, lock: AsyncDisposable) {
    this.#path = place;
    this.#lock = lock;
  }

  /** @throws BundleError TARGET_EXISTS, TARGET_BUSY; OpsError FOLDER_UNUSABLE; errors of node:fs */
  static async open(options: { path: string }): Promise<FolderTarget> {
    const place = path.resolve(options.path);
    await makeDurableFolder(place);
    await refuseOthers(place);
    await chmod(place, FOLDER_MODE);
    await using begun = new AsyncDisposableStack();
    const lock = begun.use(await claimTarget(place, path.join(place, LOCK_PATH)));
    // Another export may have ended since the first look.
    await refuseOthers(place);
    begun.move();
    return new FolderTarget(place, lock);
  }

  async left(): Promise<Head | undefined> {
    try {
      const list = await readFile(this.#at(`${LIST_PATH}${NEW}`));
      return { list, signature: await readFile(this.#at(`${SIGNATURE_PATH}${NEW}`)) };
    } catch (err) {
      if (hasCode(err, 'ENOENT')) return undefined;
      throw err;
    }
  }

  async begin({ list, signature }: Head): Promise<void> {
    await rm(this.#at(`${SIGNATURE_PATH}${NEW}`), { force: true });
    await writeFile(this.#at(`${LIST_PATH}${NEW}`), list, { mode: FILE_MODE, flush: true });
    const options = { mode: FILE_MODE, flush: true };
    await writeFile(this.#at(`${SIGNATURE_PATH}${NEW}`), signature, options);
  }

  async add(entry: BundleEntry, content: OpenContent, adding: Adding): Promise<void> {
    const place = this.#at(entry.path);
    const isNamedByDigest = entry.path.startsWith('blobs/');
    if (isNamedByDigest && (await sizeOf(place)) === entry.size) return;
    await makeDurableFolder(path.dirname(place));
    await using file = await open(`${place}${NEW}`, 'a+', FILE_MODE);
    // What is appended lies where it belongs, as long as nothing is behind it.
    let size = (await file.stat()).size;
    const part = {
      read: () => slicesOf(`${place}${NEW}`),
      write: async (bytes: Buffer, at: number) => {
        if (at < size) await file.truncate(at);
        await file.appendFile(bytes);
        size = at + bytes.length;
      },
    };
    await fill(entry, part, content, adding);
    if (size > entry.size) await file.truncate(entry.size);
    await file.sync();
    await rename(`${place}${NEW}`, place);
  }

  async finish(entries: readonly BundleEntry[]): Promise<void> {
    const wanted = new Set([LOCK_PATH, ...entries.map((entry) => entry.path)]);
    const heads = [LIST_PATH, SIGNATURE_PATH].map((name) => `${name}${NEW}`);
    for (const found of await readdir(this.#path, { withFileTypes: true, recursive: true })) {
      const name = path.relative(this.#path, path.join(found.parentPath, found.name));
      if (!found.isFile() || wanted.has(name) || heads.includes(name)) continue;
      await rm(this.#at(name));
    }
    await rename(this.#at(`${SIGNATURE_PATH}${NEW}`), this.#at(SIGNATURE_PATH));
    await rename(this.#at(`${LIST_PATH}${NEW}`), this.#at(LIST_PATH));
    const folders = new Set(entries.map((entry) => path.dirname(this.#at(entry.path))));
    for (const folder of folders) await nodeFolderOps.syncFolder(folder);
    await nodeFolderOps.syncFolder(this.#path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock[Symbol.asyncDispose]();
  }

  #at(name: string): string {
    return path.join(this.#path, name);
  }
}

/** A folder is taken that has nothing, or what an export that was broken off left. */
async function refuseOthers(place: string): Promise<void> {
  for (const name of await readdir(place)) {
    if (name === LIST_PATH) throw targetExists(place, 'has a bundle already; name another one');
    const known = isBundlePath(name.replace(/\.new$/, '')) || isBundleFolder(name);
    if (known || name === LOCK_PATH || name === 'lost+found') continue;
    throw targetExists(place, `has ${name} in it; name a folder of its own`);
  }
}

/** Whether this names a folder: one that is there, or a name that ends like one. */
export async function isFolderName(name: string): Promise<boolean> {
  if (name.endsWith('/')) return true;
  try {
    await access(`${name}/.`);
    return true;
  } catch {
    return false;
  }
}
