import { createHash } from 'node:crypto';
import { digestAlgorithm, digestFromBytes, type Digest } from '../../proto/oci/digest.ts';
import { isForeignLayer, parseManifest } from '../../proto/oci/manifest.ts';
import { counted } from '../../proto/std/counted.ts';
import type { BlobReader, OpenBlob } from '../blobs/port.ts';
import type { FileLister, StoredFile } from '../blobs/stored-files.ts';
import { UPLOAD_ORPHAN_MS } from '../registry/constants.ts';
import { CHECK_ASKS, CHECK_BATCH, CHECK_BUFFER_BYTES, CHECK_PROBLEMS_MAX } from './constants.ts';
import type { CheckStore, NamedBlob, RecordedBlob } from './store.ts';

export type ProblemKind =
  /** The catalog has a blob whose bytes are not there, or not all of them. */
  | 'missing'
  | 'short'
  /** The bytes are not those of the digest. */
  | 'corrupt'
  /** Bytes that the catalog does not know. */
  | 'orphan'
  /** Bytes of an upload that nobody goes on with, for longer than a hub that runs leaves them. */
  | 'leftover'
  /** A manifest names a blob that its repository has not. */
  | 'absent'
  | 'dangling-tag';

export type Problem = {
  kind: ProblemKind;
  /** A digest, a file, or repository:tag. */
  what: string;
  detail: string;
  /** What `--repair` did about it. */
  repaired?: string;
};

export type CheckReport = {
  blobs: number;
  bytes: number;
  hashed: number;
  /** How many of each kind there are; those repaired are among them. */
  counts: Partial<Record<ProblemKind, number>>;
  repaired: number;
  problems: Problem[];
};

type Modules = { store: CheckStore; blobs: BlobReader; files: FileLister };
export type CheckOptions = {
  /** Read and hash every blob. */
  hash: boolean;
  repair: boolean;
  now?: () => number;
};

/**
 * Compares catalog and blobs of a hub that does not run. Memory does not follow their number.
 * A repair removes what nobody knows, moves aside what is no blob, and takes from the catalog what
 * is not there, so that clients are told to push it again.
 * @throws BlobStoreError; errors of the catalog and of node:fs
 */
export class Check {
  readonly #options: CheckOptions;
  readonly #modules: Modules;
  readonly #buffer = Buffer.allocUnsafe(CHECK_BUFFER_BYTES);
  readonly #report: CheckReport = {
    blobs: 0,
    bytes: 0,
    hashed: 0,
    counts: {},
    repaired: 0,
    problems: [],
  };

  constructor(options: CheckOptions, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
  }

  async run({ signal }: { signal: AbortSignal }): Promise<CheckReport> {
    await this.#files(signal);
    await this.#recorded(signal);
    await this.#named(signal);
    for (const { repository, tag } of await this.#modules.store.danglingTags(CHECK_BATCH)) {
      this.#note({ kind: 'dangling-tag', what: `${repository}:${tag}`, detail: 'no manifest' });
    }
    return this.#report;
  }

  /** What is stored and should not be, or is not what its name says. */
  async #files(signal: AbortSignal): Promise<void> {
    const { store, files } = this.#modules;
    for await (const file of files.list()) {
      signal.throwIfAborted();
      if (file.pending !== undefined) {
        await this.#pending(file, file.pending);
        continue;
      }
      const { digest, size } = file;
      const wanted = digest === undefined ? undefined : await store.sizeOf(digest);
      if (digest === undefined || wanted === undefined) {
        const detail = `${size} bytes that the catalog does not know`;
        await this.#drop(file, { kind: 'orphan', what: digest ?? file.path, detail });
      } else if (size !== wanted) {
        const detail = `${size} of ${wanted} bytes`;
        await this.#setAside(file, { kind: 'short', what: digest, detail });
      } else if (this.#options.hash) await this.#hash(file, digest);
    }
  }

  async #pending(file: StoredFile, id: string): Promise<void> {
    const { now = Date.now } = this.#options;
    const { changedMs = 0, path, size } = file;
    if (changedMs > now() - UPLOAD_ORPHAN_MS) return;
    if (await this.#modules.store.isUpload(id)) return;
    const detail = `${size} bytes of an upload that has ended`;
    await this.#drop(file, { kind: 'leftover', what: path, detail });
  }

  async #drop(file: StoredFile, problem: Problem): Promise<void> {
    if (this.#options.repair) {
      await this.#modules.files.remove(file);
      problem.repaired = 'removed';
    }
    this.#note(problem);
  }

  async #hash(file: StoredFile, digest: Digest): Promise<void> {
    const actual = await this.#digestOf(digest);
    this.#report.hashed += 1;
    if (actual === digest) return;
    await this.#setAside(file, {
      kind: 'corrupt',
      what: digest,
      detail: `the bytes are ${actual}`,
    });
  }

  async #setAside(file: StoredFile, problem: Problem & { what: Digest }): Promise<void> {
    if (this.#options.repair) {
      const place = await this.#modules.files.setAside(file);
      await this.#modules.store.forget(problem.what);
      problem.repaired = `moved to ${place}; push it again`;
    }
    this.#note(problem);
  }

  async #digestOf(digest: Digest): Promise<Digest | 'gone'> {
    await using blob = await this.#modules.blobs.open(digest);
    if (blob === undefined) return 'gone';
    const algorithm = digestAlgorithm(digest);
    const hash = createHash(algorithm);
    for await (const bytes of this.#read(blob)) hash.update(bytes);
    return digestFromBytes(algorithm, hash.digest());
  }

  async *#read(blob: OpenBlob): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < blob.size;) {
      const count = await blob.read(this.#buffer, at);
      if (count === 0) return;
      yield this.#buffer.subarray(0, count);
      at += count;
    }
  }

  /** What the catalog has and the store has not. */
  async #recorded(signal: AbortSignal): Promise<void> {
    const { store } = this.#modules;
    for (let after: Digest | undefined; ;) {
      const batch = await store.blobs(after, CHECK_BATCH);
      for (let at = 0; at < batch.length; at += CHECK_ASKS) {
        signal.throwIfAborted();
        await Promise.all(batch.slice(at, at + CHECK_ASKS).map((blob) => this.#compare(blob)));
      }
      if (batch.length < CHECK_BATCH) return;
      after = batch.at(-1)?.digest;
    }
  }

  async #compare({ digest, size, live, leaving }: RecordedBlob): Promise<void> {
    const { store, files } = this.#modules;
    this.#report.blobs += 1;
    this.#report.bytes += size;
    // Bytes of another size were met among the files.
    if (leaving || (await this.#sizeOf(digest)) !== undefined) return;
    const place = live ? '' : ' (in quarantine)';
    const detail = `${size} bytes are gone${place}`;
    const problem: Problem = { kind: 'missing', what: digest, detail };
    if (this.#options.repair) {
      await files.forget?.(digest);
      await store.forget(digest);
      problem.repaired = 'not recorded any more; push it again';
    }
    this.#note(problem);
  }

  async #sizeOf(digest: Digest): Promise<number | undefined> {
    const { blobs, files } = this.#modules;
    if (files.sizeOf !== undefined) return files.sizeOf(digest);
    return (await blobs.stat(digest))?.size;
  }

  async #named(signal: AbortSignal): Promise<void> {
    const { store } = this.#modules;
    for (let after: NamedBlob | undefined; ;) {
      signal.throwIfAborted();
      const batch = await store.absentBlobs(after, CHECK_BATCH);
      for (const named of batch) {
        if (await this.#isElsewhere(named)) continue;
        const { repository, manifest, digest } = named;
        const detail = `named by ${manifest} in ${repository}, which has it not`;
        this.#note({ kind: 'absent', what: digest, detail });
      }
      if (batch.length < CHECK_BATCH) return;
      after = batch.at(-1);
    }
  }

  /** Layers that are fetched from elsewhere need not be here. */
  async #isElsewhere({ repository, manifest, digest }: NamedBlob): Promise<boolean> {
    const bytes = await this.#modules.store.manifestBytes(repository, manifest);
    if (bytes === undefined) return false;
    const layer = parseManifest(bytes).layers.find((one) => one.digest === digest);
    return layer !== undefined && isForeignLayer(layer);
  }

  #note(problem: Problem): void {
    const { counts, problems } = this.#report;
    counts[problem.kind] = (counts[problem.kind] ?? 0) + 1;
    if (problem.repaired !== undefined) this.#report.repaired += 1;
    if (problems.length < CHECK_PROBLEMS_MAX) problems.push(problem);
  }
}

/** Whether all that is wrong was repaired, or only costs room and goes by itself. */
export function isSound({ counts, repaired }: CheckReport): boolean {
  const found = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return found === repaired;
}

/** The report for people. */
export function formatReport(report: CheckReport): string {
  const { blobs, bytes, hashed, counts, repaired, problems } = report;
  const found = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const lines = problems.map(({ kind, what, detail, repaired: done }) => {
    return `${kind}: ${what}: ${detail}${done === undefined ? '' : `: ${done}`}`;
  });
  const hashes = hashed > 0 ? `, ${hashed} hashed` : '';
  const looked = `${counted(blobs, 'blob')}, ${counted(bytes, 'byte')}${hashes}`;
  lines.push(`${looked}: ${counted(found, 'problem')}, ${repaired} repaired`);
  return `${lines.join('\n')}\n`;
}
