import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { hasCode } from '../../proto/std/errors.ts';
import { REMEMBERED_UPLOADS_MAX } from './constants.ts';

const FILE_MODE = 0o600;
/** What keeps a place from being written; the last is what somebody else has put there. */
const UNWRITABLE = ['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'ENOTDIR', 'EEXIST'];

/**
 * Where uploads of large blobs go on at a hub, for the next import when this one is broken off: in
 * a file beside the bundle or, where none can be written, in the folder for temporary files.
 */
export class RememberedUploads {
  readonly #places: readonly string[];
  readonly #uploads: Map<string, string>;
  /** One after the other: several blobs are sent at a time. */
  #saving: Promise<void> = Promise.resolve();

  private constructor(places: readonly string[], uploads: Map<string, string>) {
    this.#places = places;
    this.#uploads = uploads;
  }

  /** `bundle`: where it lies. `url`: the hub that it goes to. `id`: its own. */
  static async open(of: { bundle: string; url: string; id: string }): Promise<RememberedUploads> {
    const sum = createHash('sha256').update(`${of.url} ${of.id}`).digest('hex').slice(0, 16);
    const beside = `${path.resolve(of.bundle)}.${sum}.uploads`;
    const places = [beside, path.join(tmpdir(), `flotilla-bundle-${sum}.uploads`)];
    const uploads = new Map<string, string>();
    for (const place of places) {
      // oxlint-disable-next-line no-await-in-loop -- two of them
      for (const [key, location] of await entriesIn(place)) uploads.set(key, location);
    }
    return new RememberedUploads(places, uploads);
  }

  /** Path of the upload at the hub. */
  find(key: string): string | undefined {
    return this.#uploads.get(key);
  }

  async put(key: string, location: string): Promise<void> {
    const [oldest] = this.#uploads.keys();
    if (this.#uploads.size >= REMEMBERED_UPLOADS_MAX && oldest !== undefined) {
      this.#uploads.delete(oldest);
    }
    this.#uploads.set(key, location);
    await this.#save();
  }

  async remove(key: string): Promise<void> {
    if (this.#uploads.delete(key)) await this.#save();
  }

  /** Not to be remembered any more. */
  async clear(): Promise<void> {
    this.#uploads.clear();
    for (const place of this.#places) {
      // oxlint-disable-next-line no-await-in-loop -- two of them
      await rm(place, { force: true }).catch(() => undefined);
    }
  }

  #save(): Promise<void> {
    this.#saving = this.#saving.catch(() => undefined).then(() => this.#write());
    return this.#saving;
  }

  async #write(): Promise<void> {
    const text = JSON.stringify([...this.#uploads]);
    for (const place of this.#places) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- the first that can be written
        await rm(`${place}.new`, { force: true });
        // oxlint-disable-next-line no-await-in-loop -- the first that can be written
        await writeFile(`${place}.new`, text, { mode: FILE_MODE, flag: 'wx' });
        // oxlint-disable-next-line no-await-in-loop -- the first that can be written
        return await rename(`${place}.new`, place);
      } catch (err) {
        if (!hasCode(err, ...UNWRITABLE)) throw err;
      }
    }
  }
}

/** None, when there is no such file or it cannot be understood: uploads begin anew. */
async function entriesIn(place: string): Promise<[string, string][]> {
  try {
    const value: unknown = JSON.parse(await ownText(place));
    const list: readonly unknown[] = Array.isArray(value) ? value : [];
    return list.flatMap((pair) => {
      const [key, location]: unknown[] = Array.isArray(pair) ? pair : [];
      return typeof key === 'string' && typeof location === 'string' && location.startsWith('/v2/')
        ? [[key, location] as [string, string]]
        : [];
    });
  } catch {
    return [];
  }
}

/** Where it lies others may write too: neither a link nor a file of theirs is believed. */
async function ownText(place: string): Promise<string> {
  await using file = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW);
  const found = await file.stat();
  const isOwn = found.isFile() && found.uid === (process.getuid?.() ?? found.uid);
  return isOwn ? await file.readFile('utf8') : '';
}
