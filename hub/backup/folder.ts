import { createHash, randomBytes } from 'node:crypto';
import {
  chmod,
  mkdir,
  open,
  opendir,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
} from 'node:fs/promises';
import path from 'node:path';
import { digestAlgorithm, digestHex, isDigest, type Digest } from '../../proto/oci/digest.ts';
import { makeDurableFolder, nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { MANIFEST_FILE_MAX_BYTES } from './constants.ts';
import { BackupError, damaged } from './errors.ts';
import { formatManifest, parseManifest, type BackupManifest } from './manifest.ts';
import { slicesOf, writeAll } from './slices.ts';

// backup.json                 what the backup is; written last
// unfinished                  while a backup is being written
// catalog-<random>.ndjson     rows of the catalog, see rows.ts
// key-ring-<random>.pem       private keys, when they were asked for
// blobs/<algorithm>/<hex>     as in an OCI image layout
//
// All of it holds what only the hub should know: hashes of passwords, private images.

const MANIFEST = 'backup.json';
const UNFINISHED = 'unfinished';
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const NAME_BYTES = 6;
const ALGORITHMS = ['sha256', 'sha512'];
const OWN = /^(?:backup\.json|unfinished|blobs|key-ring-\w+\.pem|catalog-\w+\.ndjson)(?:\.new)?$/;

/** A folder with a backup, or one that is to have one. */
export class BackupFolder {
  readonly path: string;
  #made = false;

  constructor(options: { path: string }) {
    this.path = path.resolve(options.path);
  }

  /**
   * Makes the folder ready to be written. One that was being written is gone on with.
   * @throws BackupError TARGET_NOT_EMPTY for one with a backup, unless `again`, and for one with
   *   anything else; errors of node:fs
   */
  async begin({ again }: { again: boolean }): Promise<void> {
    this.#made = await makeDurableFolder(this.path);
    await chmod(this.path, FOLDER_MODE);
    const names = (await readdir(this.path)).filter((name) => name !== 'lost+found');
    const strange = names.find((name) => !OWN.test(name));
    if (strange !== undefined) {
      throw this.#notEmpty(`has ${strange} in it; name a folder of its own`);
    }
    const isDone = names.includes(MANIFEST) && !names.includes(UNFINISHED);
    if (isDone && !again) {
      throw this.#notEmpty('has a backup; bring it up to date with --incremental');
    }
    await mkdir(path.join(this.path, 'blobs'), { recursive: true, mode: FOLDER_MODE });
    for (const algorithm of ALGORITHMS) {
      // oxlint-disable-next-line no-await-in-loop -- two of them
      await mkdir(path.join(this.path, 'blobs', algorithm), { recursive: true, mode: FOLDER_MODE });
    }
    await this.writeFile(UNFINISHED, '');
  }

  /**
   * Makes what was written the backup, in the place of an older one; catalogs and blobs of that
   * are removed.
   */
  async finish(manifest: BackupManifest, isWanted: (digest: Digest) => boolean): Promise<void> {
    for (const algorithm of ALGORITHMS) {
      // oxlint-disable-next-line no-await-in-loop -- two of them
      await nodeFolderOps.syncFolder(path.join(this.path, 'blobs', algorithm));
    }
    await nodeFolderOps.syncFolder(path.join(this.path, 'blobs'));
    await this.writeFile(MANIFEST, formatManifest(manifest));
    await rm(path.join(this.path, UNFINISHED), { force: true });
    await nodeFolderOps.syncFolder(this.path);
    await this.#removeAllBut([MANIFEST, 'blobs', manifest.catalog.file, manifest.keys?.file]);
    if (manifest.blobs === undefined) return;
    for await (const { file, digest } of this.blobFiles()) {
      if (digest === undefined || !isWanted(digest)) await rm(file, { force: true });
    }
  }

  /**
   * Leaves the folder after a backup failed: `whole`, with the one that was there; `unfinished`,
   * with bytes of blobs that the next attempt goes on with; `nothing`, as it was found.
   */
  async giveUp(): Promise<'whole' | 'unfinished' | 'nothing'> {
    const begun = [UNFINISHED, 'blobs'];
    if (await exists(path.join(this.path, MANIFEST))) {
      const { catalog, keys } = await this.manifest();
      await this.#removeAllBut([...begun, MANIFEST, catalog.file, keys?.file]);
      return 'whole';
    }
    await this.#removeAllBut(begun);
    const parts: string[] = [];
    for await (const { file, digest } of this.blobFiles()) {
      if (digest !== undefined || ((await sizeOf(file)) ?? 0) > 0) return 'unfinished';
      parts.push(file);
    }
    for (const file of parts) await rm(file, { force: true });
    await this.#removeAllBut(['blobs']);
    const folders = [...ALGORITHMS.map((name) => path.join('blobs', name)), 'blobs'];
    for (const name of folders) await rmdir(path.join(this.path, name));
    if (this.#made) await rmdir(this.path);
    return 'nothing';
  }

  /**
   * What the backup is.
   * @throws BackupError BACKUP_MISSING, BACKUP_UNFINISHED, BACKUP_FORMAT, BACKUP_DAMAGED
   */
  async manifest(): Promise<BackupManifest> {
    const unfinished = await exists(path.join(this.path, UNFINISHED));
    try {
      const file = path.join(this.path, MANIFEST);
      const found = await stat(file);
      if (!found.isFile()) throw damaged('backup.json is no file');
      if (found.size > MANIFEST_FILE_MAX_BYTES) throw damaged('backup.json is too long');
      return parseManifest(await readFile(file, 'utf8'));
    } catch (err) {
      if (!hasCode(err, 'ENOENT', 'ENOTDIR')) throw err;
    }
    const { path: folder } = this;
    if (unfinished) {
      throw new BackupError(
        `the backup in ${folder} was not finished; make it again, what is there is used`,
        { code: 'BACKUP_UNFINISHED', folder },
      );
    }
    throw new BackupError(`there is no backup in ${folder}: backup.json is missing`, {
      code: 'BACKUP_MISSING',
      folder,
    });
  }

  /** Whose backup it is; undefined when there is none, or none that can be used. */
  async fleetId(): Promise<string | undefined> {
    try {
      return (await this.manifest()).fleetId;
    } catch (err) {
      if (err instanceof BackupError) return undefined;
      throw err;
    }
  }

  /** Names that no file has yet: until a backup is done the one before it stays as it is. */
  newNames(): { catalog: string; keys: string } {
    const id = randomBytes(NAME_BYTES).toString('hex');
    return { catalog: `catalog-${id}.ndjson`, keys: `key-ring-${id}.pem` };
  }

  /** Puts a small file in its place, durably, with what it holds or not at all. */
  async writeFile(name: string, text: string): Promise<void> {
    await this.writeSlices(name, [Buffer.from(text)]);
  }

  /** Like writeFile, for what comes in slices; bytes and SHA-256 of it. */
  async writeSlices(
    name: string,
    slices: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<{ bytes: number; sha256: string }> {
    const target = path.join(this.path, name);
    const hash = createHash('sha256');
    let bytes = 0;
    await using file = await open(`${target}.new`, 'w', FILE_MODE);
    for await (const slice of slices) {
      hash.update(slice);
      await writeAll(file, slice);
      bytes += slice.length;
    }
    await file.sync();
    await rename(`${target}.new`, target);
    await nodeFolderOps.syncFolder(this.path);
    return { bytes, sha256: hash.digest('hex') };
  }

  /** Reads a file of the backup. */
  read(name: string): AsyncIterable<Buffer> {
    return slicesOf(path.join(this.path, name));
  }

  readText(name: string): Promise<string> {
    return readFile(path.join(this.path, name), 'utf8');
  }

  /** Where the bytes of a blob are; those in the making have `.new` behind it. */
  blobPath(digest: Digest): string {
    return path.join(this.path, 'blobs', digestAlgorithm(digest), digestHex(digest));
  }

  async blobSize(digest: Digest): Promise<number | undefined> {
    return sizeOf(this.blobPath(digest));
  }

  /** All files among the blobs; without a digest when it is none of a blob. */
  async *blobFiles(): AsyncGenerator<{ file: string; digest?: Digest }> {
    for (const algorithm of ALGORITHMS) {
      const folder = path.join(this.path, 'blobs', algorithm);
      // oxlint-disable-next-line no-await-in-loop -- two of them
      if (!(await exists(folder))) continue;
      for await (const { name } of await opendir(folder)) {
        const digest = `${algorithm}:${name}`;
        const file = path.join(folder, name);
        yield isDigest(digest) ? { file, digest } : { file };
      }
    }
  }

  async #removeAllBut(kept: readonly (string | undefined)[]): Promise<void> {
    for (const name of await readdir(this.path)) {
      // oxlint-disable-next-line no-await-in-loop -- a few files
      if (OWN.test(name) && !kept.includes(name)) await rm(path.join(this.path, name));
    }
  }

  #notEmpty(text: string): BackupError {
    const folder = this.path;
    return new BackupError(`${folder} ${text}`, { code: 'TARGET_NOT_EMPTY', folder });
  }
}

/** Size of a file; undefined when there is none. */
export async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size;
  } catch (err) {
    if (hasCode(err, 'ENOENT', 'ENOTDIR')) return undefined;
    throw err;
  }
}

export async function exists(file: string): Promise<boolean> {
  return (await sizeOf(file)) !== undefined;
}
