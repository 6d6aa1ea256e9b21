import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { digestAlgorithm, digestFromBytes, isDigest, type Digest } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { BlobStore } from '../blobs/port.ts';
import type { ObjectIndex } from '../blobs/s3/object-index.ts';
import { BACKUP_BUFFER_BYTES, BLOBS_AT_ONCE } from './constants.ts';
import { damaged } from './errors.ts';
import type { BackupFolder } from './folder.ts';
import { Lanes } from './lanes.ts';
import type { BackupManifest } from './manifest.ts';
import { roundBytes, type Progress } from './progress.ts';
import { blobsOf, type BackedUpBlob } from './rows-of.ts';
import { RowReader } from './rows.ts';
import type { TablePage } from './store.ts';

type Modules = {
  folder: BackupFolder;
  store: Pick<BlobStore, 'stat' | 'open' | 'begin'>;
  /** Of a store that keeps its blobs under other names, which the backup may know. */
  index: Pick<ObjectIndex, 'find' | 'commit' | 'remove' | 'forget'> | undefined;
  progress: Progress;
};

/** What became of the blobs. */
export type BlobCounts = { stored: number; storedBytes: number; there: number };

/** Puts the blobs of a backup into a store, each checked on its way. */
export class RestoredBlobs {
  readonly #manifest: BackupManifest;
  readonly #without: ReadonlySet<string>;
  readonly #prefix: string;
  readonly #modules: Modules;
  readonly counts: BlobCounts = { stored: 0, storedBytes: 0, there: 0 };

  /** `without`: what is not to come back. `prefix`: of the store in its bucket. */
  constructor(
    options: { manifest: BackupManifest; without: ReadonlySet<string>; prefix: string },
    modules: Modules,
  ) {
    this.#manifest = options.manifest;
    this.#without = options.without;
    this.#prefix = options.prefix;
    this.#modules = modules;
  }

  /** @throws BackupError BACKUP_DAMAGED; BlobStoreError; errors of node:fs */
  async run({ signal }: { signal: AbortSignal }): Promise<void> {
    const { folder, progress } = this.#modules;
    const { catalog, blobs } = this.#manifest;
    const lost = new Set(blobs?.missing);
    await using lanes = new Lanes(BLOBS_AT_ONCE);
    const reader = new RowReader(folder.read(catalog.file));
    await reader.head();
    for await (const page of reader.pages()) {
      for (const object of objectsOf(page)) await this.#adopt(object);
      for (const blob of blobsOf(page)) {
        signal.throwIfAborted();
        if (this.#without.has(blob.digest) || lost.has(blob.digest)) continue;
        await lanes.add(() => this.#one(blob));
        progress.step(() => this.#told());
      }
    }
    await lanes.end();
    progress.say(this.#told());
  }

  #told(): string {
    const { stored, storedBytes, there } = this.counts;
    const rest = there > 0 ? `, ${there} were there` : '';
    return `blobs: ${stored} restored, ${roundBytes(storedBytes)}${rest}`;
  }

  async #one({ digest, size }: BackedUpBlob): Promise<void> {
    const { store } = this.#modules;
    if ((await store.stat(digest))?.size === size) {
      this.counts.there += 1;
      return;
    }
    if (this.#manifest.blobs === undefined) {
      throw damaged(`it is of the catalog only, and the store has no blob ${digest}`);
    }
    await this.#store(digest, size);
    this.counts.stored += 1;
    this.counts.storedBytes += size;
  }

  async #store(digest: Digest, size: number): Promise<void> {
    const { folder, store } = this.#modules;
    await using file = await openBlob(folder.blobPath(digest), digest);
    const pending = await store.begin();
    try {
      const hash = createHash(digestAlgorithm(digest));
      const buffer = Buffer.allocUnsafe(Math.min(BACKUP_BUFFER_BYTES, Math.max(1, size)));
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length);
        if (bytesRead === 0) break;
        const slice = buffer.subarray(0, bytesRead);
        hash.update(slice);
        await pending.append([slice]);
      }
      const actual = digestFromBytes(digestAlgorithm(digest), hash.digest());
      if (actual !== digest) throw damaged(`${digest}: the bytes of the blob are ${actual}`);
      await pending.commit(digest);
    } finally {
      await pending.discard();
    }
  }

  /** An object that is in the bucket still is the blob: it is not stored again. */
  async #adopt({ digest, key, size }: { digest: Digest; key: string; size: number }) {
    const { index, store } = this.#modules;
    if (index === undefined || this.#without.has(digest)) return;
    // Of another part of the bucket nothing is ours, to read or to remove.
    if (!key.startsWith(`${this.#prefix}blobs/`)) return;
    if ((await index.find(digest)) !== undefined) return;
    const nowMs = Date.now();
    await index.commit({ digest, key, size }, nowMs);
    await using blob = await store.open(digest);
    if (blob !== undefined && (await blob.expect?.({ start: 0, end: size })) !== false) return;
    await index.remove({ digest, key }, nowMs);
    // It is not there, and if it comes back it is not ours to remove.
    await index.forget([key]);
  }
}

async function openBlob(file: string, digest: Digest) {
  try {
    return await open(file, 'r');
  } catch (err) {
    if (hasCode(err, 'ENOENT')) throw damaged(`${digest}: the blob is missing`);
    throw err;
  }
}

function objectsOf({ table, columns, rows }: TablePage) {
  if (table !== 'blob_object') return [];
  const at = ['digest', 'object_key', 'size'].map((name) => columns.indexOf(name));
  return rows.map((row) => {
    const [digest, key, size] = at.map((i) => row[i]);
    const isWhole = typeof digest === 'string' && isDigest(digest) && typeof key === 'string';
    if (isWhole && typeof size === 'number') return { digest, key, size };
    throw damaged('a row of the catalog describes no object');
  });
}
