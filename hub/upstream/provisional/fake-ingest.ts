// A blob on its way from an upstream, whose bytes come when a test says so.
import { randomUUID } from 'node:crypto';
import { ContentHasher } from '../../../proto/chunks/content-hasher.ts';
import type { Digest } from '../../../proto/oci/digest.ts';
import type { Repository } from '../../../proto/oci/name.ts';
import { abortable } from '../../../proto/std/abort.ts';
import type { OpenBlob } from '../../blobs/port.ts';
import type { Ingests, RunningIngest } from '../port.ts';

type Outcome = Awaited<RunningIngest['outcome']>;

/** One try to fetch a blob: `receive` is the upstream, `end` what came of it. */
export class FakeIngest implements RunningIngest {
  readonly session = randomUUID();
  readonly digest: Digest;
  readonly size: number;
  readonly provisional: RunningIngest['provisional'];
  readonly outcome: Promise<Outcome>;
  readonly #bytes: Buffer;
  readonly #hasher = new ContentHasher();
  readonly #ended = Promise.withResolvers<Outcome>();
  #received = 0;
  #leaves: Buffer | undefined;
  #news = Promise.withResolvers<void>();

  /** `bytes` are what the upstream sends, whether or not they have the digest. */
  constructor(
    digest: Digest,
    bytes: Buffer,
    o: { provisional?: RunningIngest['provisional'] } = {},
  ) {
    this.digest = digest;
    this.size = bytes.length;
    this.#bytes = bytes;
    this.provisional = o.provisional ?? 'readers';
    this.outcome = this.#ended.promise;
  }

  get received(): number {
    return this.#received;
  }

  /** The upstream sends so many bytes more. */
  receive(count: number): void {
    const end = Math.min(this.size, this.#received + count);
    if (end === this.#received) return;
    this.#hasher.update(this.#bytes.subarray(this.#received, end));
    this.#received = end;
    if (end === this.size) this.#leaves = this.#hasher.finish().leaves;
    this.#tell();
  }

  end(outcome: Outcome): void {
    this.#ended.resolve(outcome);
    this.#tell();
  }

  leavesFrom(first: number): Buffer {
    return this.#leaves?.subarray(first * 32) ?? this.#hasher.leavesFrom(first);
  }

  async progress(received: number, o: { signal?: AbortSignal | undefined }): Promise<void> {
    // oxlint-disable-next-line no-await-in-loop -- until there is some
    while (this.#received <= received) await abortable(this.#news.promise, o.signal);
  }

  async open(o: { signal?: AbortSignal | undefined; checksLeaves?: boolean }): Promise<OpenBlob> {
    const waits = this.provisional === 'swarm-only' && o.checksLeaves !== true;
    return {
      size: this.size,
      read: async (into, position) => {
        if (waits) await abortable(this.outcome, o.signal);
        const end = Math.min(this.size, position + into.length);
        // oxlint-disable-next-line no-await-in-loop -- until they are all here
        while (this.#received < end) await abortable(this.#news.promise, o.signal);
        into.set(this.#bytes.subarray(position, end));
        return end - position;
      },
      [Symbol.asyncDispose]: async () => {},
    };
  }

  #tell(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }
}

/** Ingests by repository and digest, as a test puts them there. */
export class FakeIngests implements Ingests {
  readonly #running = new Map<string, FakeIngest>();

  put(repository: string, ingest: FakeIngest): void {
    this.#running.set(`${repository} ${ingest.digest}`, ingest);
  }

  remove(repository: string, digest: Digest): void {
    this.#running.delete(`${repository} ${digest}`);
  }

  find(repository: Repository, digest: Digest): RunningIngest | undefined {
    return this.#running.get(`${repository} ${digest}`);
  }
}
