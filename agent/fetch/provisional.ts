import { setImmediate } from 'node:timers/promises';
import type { ProvisionalBatch } from '../../proto/chunks/provisional.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import type { GrowingBlob } from '../store/port.ts';
import {
  PROVISIONAL_RETRY_MAX_MS,
  PROVISIONAL_RETRY_MIN_MS,
  PROVISIONAL_SPACING_MS,
} from './constants.ts';
import type { Download, Growth } from './download.ts';
import { fetchError } from './errors.ts';
import { readBatch } from './facts.ts';
import type { ChunkedFacts } from './facts.ts';
import { LeafBook } from './leaf-book.ts';
import type { FetchMetrics } from './metrics.ts';
import type { CallOptions, HubSource, OpenRequest } from './ports.ts';
import { ProvisionalReader, ProvisionalReaders } from './provisional-readers.ts';

export type ProvisionalModules = {
  source: Pick<HubSource, 'provisional'>;
  /** The statement and the hashes, once there are any; undefined or a rejection: not now. */
  stated: (o: CallOptions) => Promise<ChunkedFacts | undefined>;
  trust: TrustStore;
  metrics: FetchMetrics;
  logger: Logger;
};

const REMEDY =
  'remove the image from the runtime (crictl rmi, or nerdctl, podman or docker rmi) and pull again';

/**
 * Downloads a blob that the hub still fetches: chunks are checked against leaves that the hub has
 * signed so far. When the hub has stored it, its statement makes it a blob like any other; when the
 * bytes turn out to be wrong, all is dropped and whoever read some is named.
 */
export class ProvisionalDownload {
  readonly digest: Digest;
  readonly ended: Promise<void>;
  readonly download: Download;
  readonly #request: OpenRequest;
  readonly #blob: GrowingBlob;
  readonly #modules: ProvisionalModules;
  readonly #readers = new ProvisionalReaders();
  readonly #stop = new AbortController();
  readonly #first: ProvisionalBatch;
  readonly #over = Promise.withResolvers<void>();
  #book: LeafBook;
  #released: boolean;
  #failures = 0;
  #askedMs = 0;

  constructor(
    request: OpenRequest,
    blob: GrowingBlob,
    first: ProvisionalBatch,
    make: (growth: Growth) => Download,
    modules: ProvisionalModules,
  ) {
    this.digest = request.digest;
    this.#request = request;
    this.#blob = blob;
    this.#first = first;
    this.#modules = modules;
    this.#book = new LeafBook(blob.layout);
    this.#released = first.release === 'readers';
    this.ended = this.#over.promise;
    this.download = make({
      session: () => (blob.settled ? undefined : blob.session),
      failing: () => void this.#drop(),
    });
  }

  start(): void {
    this.download.start();
    void this.#run();
  }

  close(): void {
    this.download.close();
  }

  /** Stops because it is not wanted any more. */
  stop(): void {
    this.download.stop();
  }

  get failure(): Error | undefined {
    return this.download.failure;
  }

  /** A statement covers the blob. */
  get settled(): boolean {
    return this.#blob.settled;
  }

  /** Readers may have what was checked against leaves. */
  get released(): boolean {
    return this.#released;
  }

  /** What a reader reads from before the blob is settled. */
  reader(request: OpenRequest): ProvisionalReader {
    const reader = new ProvisionalReader(request, this.download, this);
    this.#readers.add(reader);
    return reader;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const following = this.#follow(signal);
    await this.download.ended;
    this.#stop.abort(new Error('the download has ended'));
    await following;
    this.#readers.clear();
    await this.#drop();
    this.#over.resolve();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    try {
      let batch: ProvisionalBatch | undefined = this.#first;
      while (!this.#blob.settled) {
        // oxlint-disable-next-line no-await-in-loop -- one batch after the other
        if (batch !== undefined) await this.#take(batch, signal);
        if (this.#blob.settled) return;
        // Who waited for these leaves goes first.
        // oxlint-disable-next-line no-await-in-loop -- one batch after the other
        await setImmediate();
        // oxlint-disable-next-line no-await-in-loop -- one batch after the other
        batch = await this.#ask(signal);
      }
    } catch (err) {
      if (!signal.aborted) this.download.abort(asError(err));
    }
  }

  async #take(batch: ProvisionalBatch, signal: AbortSignal): Promise<void> {
    const { session, state, first, leaves, release } = batch;
    if (state === 'revoked') throw this.#revoked();
    this.#released = release === 'readers';
    if (!session.equals(this.#blob.session)) {
      await this.#blob.renew(session);
      this.#book = new LeafBook(this.#blob.layout);
      this.download.restarted();
      const fields = { digest: this.digest };
      this.#modules.logger.info(fields, 'the hub fetches a blob anew; what agrees is kept');
    }
    const made = this.#book.add(first, leaves);
    const others = this.#blob.learn(made.first, made.hashes);
    if (others > 0) this.#takeBack(others);
    if (state === 'stored') await this.#settle(signal);
  }

  /** The next batch; undefined: there is none now, and some time has passed. */
  async #ask(signal: AbortSignal): Promise<ProvisionalBatch | undefined> {
    const { source, logger } = this.#modules;
    const { digest } = this;
    const { size } = this.#blob;
    try {
      const sinceMs = performance.now() - this.#askedMs;
      if (sinceMs < PROVISIONAL_SPACING_MS) {
        await sleep(PROVISIONAL_SPACING_MS - sinceMs, { signal });
      }
      this.#askedMs = performance.now();
      const { repository } = this.#request;
      const bytes = await source.provisional?.(repository, digest, this.#book.next, { signal });
      if (bytes !== undefined) {
        const batch = readBatch(bytes, { digest, size }, this.#modules);
        this.#failures = 0;
        return batch;
      }
    } catch (err) {
      signal.throwIfAborted();
      logger.debug({ digest, reason: messageOf(err) }, 'the hub tells no leaves now');
    }
    await this.#settle(signal);
    return undefined;
  }

  /** Takes the statement if there is one; else some time passes. */
  async #settle(signal: AbortSignal): Promise<void> {
    const { stated, logger } = this.#modules;
    const { digest } = this;
    const facts = await stated({ signal }).catch((err: unknown) => {
      signal.throwIfAborted();
      logger.debug({ digest, reason: messageOf(err) }, 'no statement of a blob that was fetched');
      return undefined;
    });
    if (facts === undefined) {
      const range = { baseMs: PROVISIONAL_RETRY_MIN_MS, maxMs: PROVISIONAL_RETRY_MAX_MS };
      const ms = PROVISIONAL_RETRY_MIN_MS + backoffMs(this.#failures, range);
      this.#failures += 1;
      await sleep(ms, { signal });
      return;
    }
    if (facts.size !== this.#blob.size) throw this.#revoked();
    const { statement, hashes } = facts;
    await this.#blob.settle({ statement, hashes }, (others) => {
      if (others > 0) this.#takeBack(others);
    });
    this.#readers.clear();
    // Those that had to wait for this.
    this.download.wake();
    logger.debug({ digest }, 'the hub has stored a blob that it was fetching');
  }

  /** The hub does not stand by what was read any more. */
  #takeBack(chunks: number): void {
    const { digest } = this;
    this.#modules.logger.warn({ digest, chunks }, 'the hub now says otherwise of chunks');
    const text = `the hub says otherwise of ${digest} than before`;
    this.#cut(fetchError('REVOKED', text, digest));
    this.download.wake();
  }

  #revoked(): Error {
    const { digest } = this;
    const text = `the upstream of the hub sent other bytes than ${digest}`;
    const failure = fetchError('REVOKED', text, digest);
    this.#cut(failure);
    void this.#drop();
    return failure;
  }

  #cut(failure: Error): void {
    const { metrics, logger } = this.#modules;
    for (const { request, provisionalBytes: bytes } of this.#readers.cut(failure)) {
      const { namespace, repository, digest, client } = request;
      metrics.revokedReads.inc();
      const fields = { namespace, repository, digest, ...client, bytes, remedy: REMEDY };
      logger.warn(fields, 'a client has read bytes that turned out to be wrong');
    }
  }

  async #drop(): Promise<void> {
    try {
      await this.#blob.discard();
    } catch (err) {
      const fields = { digest: this.digest, reason: messageOf(err) };
      this.#modules.logger.warn(fields, 'a temporary file was not removed');
    }
  }
}

function asError(err: unknown): Error {
  return err instanceof Error ? err : new Error(String(err));
}
