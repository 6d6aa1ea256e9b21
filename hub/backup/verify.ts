import { createHash } from 'node:crypto';
import { digestAlgorithm, digestFromBytes, type Digest } from '../../proto/oci/digest.ts';
import { counted } from '../../proto/std/counted.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { BACKUP_PROBLEMS_MAX } from './constants.ts';
import { damaged } from './errors.ts';
import { sizeOf, type BackupFolder } from './folder.ts';
import type { BackupManifest } from './manifest.ts';
import { roundBytes, type Progress } from './progress.ts';
import { blobsOf } from './rows-of.ts';
import { RowReader } from './rows.ts';
import { slicesOf } from './slices.ts';

export type VerifyReport = {
  manifest: BackupManifest | undefined;
  /** Blobs of the backup; those whose bytes were hashed. */
  blobs: number;
  hashed: number;
  /** What is wrong, at most BACKUP_PROBLEMS_MAX of `found`. */
  problems: string[];
  found: number;
};

type Modules = { folder: BackupFolder; progress: Progress };

/** Looks whether a backup is whole; with `hash`, every byte of it. */
export class Verification {
  readonly #options: { hash: boolean };
  readonly #modules: Modules;
  readonly #report: VerifyReport = {
    manifest: undefined,
    blobs: 0,
    hashed: 0,
    problems: [],
    found: 0,
  };

  constructor(options: { hash: boolean }, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Damage is in the report. @throws errors of node:fs */
  async run({ signal }: { signal: AbortSignal }): Promise<VerifyReport> {
    try {
      const manifest = await this.#modules.folder.manifest();
      this.#report.manifest = manifest;
      await checkCatalog(this.#modules.folder, manifest);
      await this.#keys(manifest);
      await this.#blobs(manifest, signal);
    } catch (err) {
      if (!hasCode(err, ...PROBLEMS)) throw err;
      this.#note(messageOf(err));
    }
    return this.#report;
  }

  async #keys({ keys }: BackupManifest): Promise<void> {
    if (keys === undefined) return;
    try {
      const text = await this.#modules.folder.readText(keys.file);
      const sha256 = createHash('sha256').update(text).digest('hex');
      if (sha256 !== keys.sha256) this.#note(`${keys.file} was changed`);
    } catch (err) {
      if (!hasCode(err, 'ENOENT')) throw err;
      this.#note(`${keys.file} is missing`);
    }
  }

  async #blobs({ catalog, blobs, withdrawn }: BackupManifest, signal: AbortSignal): Promise<void> {
    const { folder, progress } = this.#modules;
    const reader = new RowReader(folder.read(catalog.file));
    await reader.head();
    const lost = new Set([...withdrawn, ...(blobs?.missing ?? [])]);
    const total = { count: 0, bytes: 0 };
    for await (const page of reader.pages()) {
      for (const { digest, size } of blobsOf(page)) {
        signal.throwIfAborted();
        total.count += 1;
        total.bytes += size;
        if (blobs === undefined || lost.has(digest)) continue;
        this.#report.blobs += 1;
        await this.#blob(digest, size);
        progress.step(() => `blobs: ${total.count} of ${blobs.count}, ${roundBytes(total.bytes)}`);
      }
    }
    if (blobs === undefined) return;
    if (total.count !== blobs.count || total.bytes !== blobs.bytes) {
      this.#note(`the catalog names ${total.count} blobs, backup.json ${blobs.count}`);
    }
    for (const digest of blobs.missing) {
      this.#note(`${digest}: the hub had lost it when the backup was made; push it again`);
    }
  }

  async #blob(digest: Digest, size: number): Promise<void> {
    const file = this.#modules.folder.blobPath(digest);
    const found = await sizeOf(file);
    if (found === undefined) return this.#note(`${digest}: the blob is missing`);
    if (found !== size) return this.#note(`${digest}: the blob has ${found} of ${size} bytes`);
    if (!this.#options.hash) return;
    const algorithm = digestAlgorithm(digest);
    const hash = createHash(algorithm);
    for await (const bytes of slicesOf(file)) hash.update(bytes);
    this.#report.hashed += 1;
    const actual = digestFromBytes(algorithm, hash.digest());
    if (actual !== digest) this.#note(`${digest}: the bytes of the blob are ${actual}`);
  }

  #note(problem: string): void {
    const { problems } = this.#report;
    this.#report.found += 1;
    if (problems.length < BACKUP_PROBLEMS_MAX) problems.push(problem);
  }
}

const PROBLEMS = ['BACKUP_MISSING', 'BACKUP_UNFINISHED', 'BACKUP_FORMAT', 'BACKUP_DAMAGED'];

/**
 * Compares every byte of the catalog with what the backup says of it.
 * @throws BackupError BACKUP_DAMAGED
 */
export async function checkCatalog(
  folder: BackupFolder,
  { catalog }: BackupManifest,
): Promise<void> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const slice of folder.read(catalog.file)) {
      hash.update(slice);
      bytes += slice.length;
    }
  } catch (err) {
    if (!hasCode(err, 'ENOENT')) throw err;
    throw damaged(`${catalog.file} is missing`);
  }
  if (bytes !== catalog.bytes) {
    throw damaged(`${catalog.file} has ${bytes} of ${catalog.bytes} bytes`);
  }
  if (hash.digest('hex') !== catalog.sha256) throw damaged(`${catalog.file} was changed`);
}

/** The report for people. */
export function formatVerification({ manifest, problems, found, ...rest }: VerifyReport): string {
  const lines = [...problems];
  if (manifest !== undefined) {
    const { time, fleetId, blobs, keys } = manifest;
    const content =
      blobs === undefined
        ? 'catalog only'
        : `${counted(rest.blobs, 'blob')}, ${roundBytes(blobs.bytes)}, ${rest.hashed} hashed`;
    const held = keys === undefined ? 'without keys' : 'with keys';
    lines.push(`backup of ${fleetId} as of ${time}: ${content}, ${held}`);
  }
  lines.push(counted(found, 'problem'));
  return `${lines.join('\n')}\n`;
}
