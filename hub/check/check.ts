import { createHash } from 'node:crypto';
import { digestAlgorithm, digestFromBytes, type Digest } from '../../proto/oci/digest.ts';
import { isForeignLayer, parseManifest } from '../../proto/oci/manifest.ts';
import type { BlobReader, OpenBlob } from '../blobs/port.ts';
import type { StoredFile } from '../blobs/stored-files.ts';
import { CHECK_BATCH, CHECK_BUFFER_BYTES, CHECK_PROBLEMS_MAX } from './constants.ts';
import type { CheckStore, NamedBlob, RecordedBlob } from './store.ts';

export type ProblemKind =
  /** The catalog has a blob whose bytes are not there, or not all of them. */
  | 'missing'
  | 'short'
  /** The bytes are not those of the digest. */
  | 'corrupt'
  /** Bytes that the catalog does not know. */
  | 'orphan'
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

/** The files of a store, where they can be listed. */
export interface FileLister {
  list(): AsyncIterable<StoredFile>;
  remove(file: StoredFile): Promise<void>;
  setAside(file: StoredFile): Promise<string>;
}

type Modules = { store: CheckStore; blobs: BlobReader; files: FileLister };
type Options = { hash: boolean; repair: boolean };

/**
 * Compares catalog and blobs of a hub that does not run. Memory does not follow their number.
 * @throws BlobStoreError; errors of the catalog and of node:fs
 */
export class Check {
  readonly #options: Options;
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

  constructor(options: Options, modules: Modules) {
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

  /** What is on the disk and should not be, or is not what its name says. */
  async #files(signal: AbortSignal): Promise<void> {
    const { store, files } = this.#modules;
    for await (const file of files.list()) {
      signal.throwIfAborted();
      const { digest } = file;
      if (digest === undefined || !(await store.isRecorded(digest))) {
        const problem: Problem = {
          kind: 'orphan',
          what: digest ?? file.path,
          detail: `${file.size} bytes that the catalog does not know`,
        };
        if (this.#options.repair) {
          await files.remove(file);
          problem.repaired = 'removed';
        }
        this.#note(problem);
      } else if (this.#options.hash) await this.#hash(file, digest);
    }
  }

  async #hash(file: StoredFile, digest: Digest): Promise<void> {
    const actual = await this.#digestOf(digest);
    this.#report.hashed += 1;
    if (actual === digest) return;
    const problem: Problem = { kind: 'corrupt', what: digest, detail: `the bytes are ${actual}` };
    if (this.#options.repair) {
      problem.repaired = `moved to ${await this.#modules.files.setAside(file)}; push it again`;
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

  /** What the catalog has and the disk has not. */
  async #recorded(signal: AbortSignal): Promise<void> {
    const { store } = this.#modules;
    for (let after: Digest | undefined; ;) {
      signal.throwIfAborted();
      const batch = await store.blobs(after, CHECK_BATCH);
      for (const blob of batch) await this.#compare(blob);
      if (batch.length < CHECK_BATCH) return;
      after = batch.at(-1)?.digest;
    }
  }

  async #compare({ digest, size, live, leaving }: RecordedBlob): Promise<void> {
    this.#report.blobs += 1;
    this.#report.bytes += size;
    const held = (await this.#modules.blobs.stat(digest))?.size;
    if (held === size || leaving) return;
    const place = live ? '' : ' (in quarantine)';
    const detail =
      held === undefined ? `${size} bytes are gone${place}` : `${held} of ${size} bytes${place}`;
    // Such a blob is not there for clients: the next push of it mends it.
    this.#note({ kind: held === undefined ? 'missing' : 'short', what: digest, detail });
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

/** The report for people. */
export function formatReport(report: CheckReport): string {
  const { blobs, bytes, hashed, counts, repaired, problems } = report;
  const found = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const lines = problems.map(({ kind, what, detail, repaired: done }) => {
    return `${kind}: ${what}: ${detail}${done === undefined ? '' : `: ${done}`}`;
  });
  const hashes = hashed > 0 ? `, ${hashed} hashed` : '';
  lines.push(`${blobs} blobs, ${bytes} bytes${hashes}: ${found} problems, ${repaired} repaired`);
  return `${lines.join('\n')}\n`;
}
