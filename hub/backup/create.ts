import { createHash } from 'node:crypto';
import type { Digest } from '../../proto/oci/digest.ts';
import { isPassing } from '../../proto/ops/join-token-request.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { copyBlob, pause } from './blob-copy.ts';
import type { BackupClient } from './client.ts';
import { ATTEMPTS_MAX, BLOBS_AT_ONCE } from './constants.ts';
import { DigestSet } from './digest-set.ts';
import { BackupError } from './errors.ts';
import type { BackupFolder } from './folder.ts';
import { Held } from './held.ts';
import { Lanes } from './lanes.ts';
import { BACKUP_FORMAT, type BackupManifest } from './manifest.ts';
import { roundBytes, type Progress } from './progress.ts';
import { blobsOf, purgedOf, type BackedUpBlob } from './rows-of.ts';
import { RowReader, type RowsHead } from './rows.ts';

export type BackupOptions = {
  /** Bring the backup up to date that is there. */
  incremental: boolean;
  catalogOnly: boolean;
  /** PEM of the fleet's keys, to be part of the backup. */
  keyRing?: string | undefined;
};

type Modules = { client: BackupClient; folder: BackupFolder; progress: Progress };

/** What was done. */
export type BackupReport = {
  manifest: BackupManifest;
  /** Blobs that were not there yet, and their bytes. */
  copied: number;
  copiedBytes: number;
};

/**
 * Makes a backup of a running hub. Interrupted at any moment, the same call goes on with the blobs
 * that are there; until it is done the folder has the backup that it had before, or none.
 */
export class Backup {
  readonly #options: BackupOptions;
  readonly #modules: Modules;
  #copied = 0;
  #copiedBytes = 0;

  constructor(options: BackupOptions, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** @throws AdminError, BackupError; errors of node:fs */
  async run({ signal }: { signal: AbortSignal }): Promise<BackupReport> {
    const { client, folder } = this.#modules;
    const id = await client.begin();
    await using hold = new Held(id, client);
    await folder.begin({ again: this.#options.incremental });
    try {
      return await this.#run(id, AbortSignal.any([signal, hold.signal]));
    } catch (err) {
      await this.#giveUp();
      hold.signal.throwIfAborted();
      throw err;
    }
  }

  async #giveUp(): Promise<void> {
    const { folder, progress } = this.#modules;
    // Why it failed is thrown behind this, also when the disk is what does not work.
    const left = await folder.giveUp().catch(() => 'unfinished' as const);
    if (left === 'nothing') return;
    const what =
      left === 'whole'
        ? 'still has the backup of before, whole'
        : 'has no whole backup yet; the same command goes on with what was copied';
    progress.say(`${folder.path} ${what}`);
  }

  async #run(id: string, signal: AbortSignal): Promise<BackupReport> {
    const { folder, progress } = this.#modules;
    const { catalogOnly, keyRing } = this.#options;
    const { catalog: file, keys: keysFile } = folder.newNames();
    const { bytes, sha256 } = await this.#catalog(id, file, signal);
    const { head, rows, blobs, known } = await this.#totals(file);
    progress.say(`catalog: ${roundBytes(bytes)}; ${blobs.count} blobs, ${roundBytes(blobs.bytes)}`);
    await this.#assertSameFleet(head);
    const keys = keyRing === undefined ? undefined : await this.#keys(keyRing, keysFile, head);
    const { wanted, lost } = await this.#blobs({ id, file, blobs }, signal);
    const purged = await this.#modules.client.purged();
    const missing = lost.filter((digest) => !purged.has(digest)).sort();
    const withdrawn = [...purged].filter((digest) => !known.has(digest)).sort();
    const { schema, fleetId, rootFingerprint, build, time } = head;
    const manifest: BackupManifest = {
      kind: 'flotilla-backup',
      format: BACKUP_FORMAT,
      time,
      finished: new Date().toISOString(),
      build,
      schema,
      fleetId,
      rootFingerprint,
      catalog: { file, bytes, sha256, rows },
      withdrawn,
      ...(catalogOnly ? {} : { blobs: { ...blobs, missing } }),
      ...(keys === undefined ? {} : { keys }),
    };
    await folder.finish(manifest, (digest) => wanted.has(digest) && !purged.has(digest));
    return { manifest, copied: this.#copied, copiedBytes: this.#copiedBytes };
  }

  /** A backup of another hub is not brought up to date with this one: its blobs would go. */
  async #assertSameFleet({ fleetId }: RowsHead): Promise<void> {
    const { folder } = this.#modules;
    const found = await folder.fleetId();
    if (found === undefined || found === fleetId) return;
    throw new BackupError(
      `${folder.path} has a backup of ${found}, this hub is of ${fleetId}; name another folder`,
      { code: 'FLEET_OTHER', found, fleetId },
    );
  }

  /** The catalog comes of one moment: one that was cut is begun anew. */
  async #catalog(
    id: string,
    file: string,
    signal: AbortSignal,
  ): Promise<{ bytes: number; sha256: string }> {
    const { client, folder, progress } = this.#modules;
    for (let attempt = 1; ; attempt += 1) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- the next attempt is for when this one failed
        const lines = await client.catalog(id, { signal });
        // oxlint-disable-next-line no-await-in-loop -- the next attempt is for when this one failed
        return await folder.writeSlices(file, counted(lines, progress));
      } catch (err) {
        signal.throwIfAborted();
        if (!isPassing(err) || attempt >= ATTEMPTS_MAX) throw err;
        progress.say(`${messageOf(err)}; trying again`);
      }
      // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next attempt
      await pause(attempt, signal);
    }
  }

  async #totals(file: string) {
    const reader = new RowReader(this.#modules.folder.read(file));
    const head = await reader.head();
    const blobs = { count: 0, bytes: 0 };
    const known = new Set<string>();
    for await (const page of reader.pages()) {
      for (const digest of purgedOf(page)) known.add(digest);
      for (const { size } of blobsOf(page)) {
        blobs.count += 1;
        blobs.bytes += size;
      }
    }
    return { head, rows: reader.counts, blobs, known };
  }

  async #keys(
    pem: string,
    file: string,
    head: RowsHead,
  ): Promise<NonNullable<BackupManifest['keys']>> {
    const { rootFingerprint: fingerprint } = head;
    const found = KeyRing.fromPem(pem).fingerprint();
    if (found !== fingerprint) {
      throw new BackupError(
        `the key ring has the root ${found}, the hub ${fingerprint}: it is of another hub`,
        { code: 'KEYS_OTHER', found, fingerprint },
      );
    }
    await this.#modules.folder.writeFile(file, pem);
    return { file, sha256: createHash('sha256').update(pem).digest('hex') };
  }

  /** Copies what is not there yet; the blobs that are wanted, and those the hub has not. */
  async #blobs(
    { id, file, blobs }: { id: string; file: string; blobs: { count: number; bytes: number } },
    signal: AbortSignal,
  ): Promise<{ wanted: DigestSet; lost: Digest[] }> {
    const { folder, progress } = this.#modules;
    const wanted = new DigestSet();
    const lost: Digest[] = [];
    const done = { count: 0, bytes: 0 };
    const text = (): string =>
      `blobs: ${done.count} of ${blobs.count}, ` +
      `${roundBytes(done.bytes)} of ${roundBytes(blobs.bytes)}`;
    const fetchOne = async ({ digest, size }: BackedUpBlob): Promise<void> => {
      signal.throwIfAborted();
      const isThere = (await folder.blobSize(digest)) === size;
      const fate = isThere ? 'kept' : await this.#copy({ id, digest, size }, signal);
      if (fate === 'lost') lost.push(digest);
      done.count += 1;
      done.bytes += size;
      progress.step(text);
    };
    const reader = new RowReader(folder.read(file));
    await reader.head();
    await using lanes = new Lanes(BLOBS_AT_ONCE);
    for await (const page of reader.pages()) {
      for (const blob of blobsOf(page)) {
        wanted.add(blob.digest);
        if (!this.#options.catalogOnly) await lanes.add(() => fetchOne(blob));
      }
    }
    await lanes.end();
    return { wanted, lost };
  }

  async #copy(
    blob: { id: string; digest: Digest; size: number },
    signal: AbortSignal,
  ): Promise<'copied' | 'lost'> {
    const { client, folder } = this.#modules;
    const target = folder.blobPath(blob.digest);
    const onBytes = (count: number): void => void (this.#copiedBytes += count);
    const fate = await copyBlob({ ...blob, target }, { client, onBytes }, { signal });
    if (fate === 'copied') this.#copied += 1;
    return fate;
  }
}

async function* counted(slices: AsyncIterable<Buffer>, progress: Progress): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const slice of slices) {
    bytes += slice.length;
    progress.step(() => `catalog: ${roundBytes(bytes)}`);
    yield slice;
  }
}
