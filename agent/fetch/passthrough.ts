import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { chunkHashesFromLeaves } from '../../proto/chunks/merkle.ts';
import { digestAlgorithm } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { StoreError } from '../store/errors.ts';
import type { Spool } from '../store/port.ts';
import { PASSTHROUGH_STALL_MS } from './constants.ts';
import { Cursors } from './cursors.ts';
import type { Cursor } from './cursors.ts';
import { FetchError, fetchClosed, fetchError } from './errors.ts';
import { sizeBucket } from './metrics.ts';
import type { FetchMetrics } from './metrics.ts';
import type { HubSource, OpenRequest } from './ports.ts';
import type { Claim } from './precedence.ts';
import type { Supply } from './supply.ts';
import { Waiters } from './waiters.ts';

export type PassthroughModules = {
  source: Pick<HubSource, 'kind' | 'stream'>;
  spool: Spool;
  /** Of one that nobody waits for: takes no more than is left for such. */
  claim?: Claim | undefined;
  metrics: FetchMetrics;
  logger: Logger;
};

/**
 * A large blob without a statement: the bytes of one connection, unmixed, handed to all readers
 * while they are hashed. The last byte is held back until the whole digest was found right; only
 * then the blob is kept. When the connection breaks, the readers break with it.
 */
export class Passthrough implements Supply {
  readonly digest: Digest;
  readonly size: number;
  readonly ended: Promise<void>;
  readonly #request: OpenRequest;
  readonly #modules: PassthroughModules;
  readonly #cursors = new Cursors();
  readonly #waiters = new Waiters();
  readonly #stop = new AbortController();
  readonly #ending = Promise.withResolvers<void>();
  #verified = false;
  #readers = 0;
  #kept: Disposable | undefined;
  #failure: Error | undefined;

  constructor(request: OpenRequest, size: number, modules: PassthroughModules) {
    this.digest = request.digest;
    this.size = size;
    this.ended = this.#ending.promise;
    this.#request = request;
    this.#modules = modules;
  }

  start(): void {
    void this.#run();
  }

  close(): void {
    this.#stop.abort(fetchClosed());
  }

  /** Stops because it is not wanted any more. */
  stop(): void {
    this.close();
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  available(position: number): number {
    const { written } = this.#modules.spool;
    const released = this.#verified ? this.size : Math.min(written, this.size - 1);
    return Math.max(0, released - position);
  }

  changed(signal: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return this.#waiters.next(signal);
  }

  read(into: Buffer, position: number): Promise<void> {
    return this.#modules.spool.read(into, position);
  }

  enter(position: number, nowMs: number): Cursor {
    return this.#cursors.enter(position, nowMs);
  }

  hold(): Disposable {
    this.#readers += 1;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#readers -= 1;
        if (this.#readers === 0) this.#kept?.[Symbol.dispose]();
      },
    };
  }

  async #run(): Promise<void> {
    const { metrics, logger } = this.#modules;
    const startMs = performance.now();
    metrics.inFlight.inc();
    try {
      await this.#copy();
      this.#verified = true;
      const seconds = (performance.now() - startMs) / 1000;
      metrics.downloads.inc({ outcome: 'complete' });
      metrics.downloadSeconds.observe({ size_bucket: sizeBucket(this.size) }, seconds);
    } catch (err) {
      const reason = messageOf(err);
      this.#failure = this.#failureOf(err);
      // A body that nobody reads to its end would keep its connection.
      this.#stop.abort(this.#failure);
      metrics.downloads.inc({ outcome: 'failed' });
      logger.warn({ digest: this.digest, reason }, 'blob passed through ended early');
      await this.#discard();
    } finally {
      metrics.inFlight.dec();
      this.#modules.claim?.[Symbol.dispose]();
      this.#waiters.wakeAll();
      this.#ending.resolve();
    }
  }

  async #discard(): Promise<void> {
    try {
      await this.#modules.spool.discard();
    } catch (err) {
      this.#modules.logger.warn({ reason: messageOf(err) }, 'a temporary file was not removed');
    }
  }

  /** Errors of this room and of the store as they are; whatever ends a connection as BROKEN. */
  #failureOf(err: unknown): Error {
    if (err instanceof FetchError || err instanceof StoreError) return err;
    return fetchError('BROKEN', `the source of ${this.digest} broke off`, this.digest, err);
  }

  async #copy(): Promise<void> {
    const { source, spool, claim, metrics } = this.#modules;
    const { repository } = this.#request;
    const { signal } = this.#stop;
    const stream = await source.stream(repository, this.digest, 0, { signal });
    if (stream?.size !== this.size) {
      throw fetchError('BROKEN', `${this.digest} is gone or changed its size`, this.digest);
    }
    const hasher = new ContentHasher({ algorithms: [digestAlgorithm(this.digest)] });
    const body = stream.body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const bytes = await nextOf(body, signal);
        if (bytes === undefined) break;
        claim?.readers(this.#cursors.size, performance.now());
        using turn = await claim?.turn(bytes.length, signal);
        void turn;
        hasher.update(bytes);
        await spool.append(bytes);
        this.#waiters.wakeAll();
      }
    } finally {
      // A body that hangs would hold up its own end, so nobody waits for that.
      void Promise.resolve(body.return?.()).catch(() => {});
    }
    if (hasher.size !== this.size) {
      throw fetchError('BROKEN', `${this.digest} ended after ${hasher.size} bytes`, this.digest);
    }
    const { digests, leaves } = hasher.finish();
    if (digests[digestAlgorithm(this.digest)] !== this.digest) {
      metrics.rejected.inc({ reason: 'blob_mismatch' });
      const text = `the ${source.kind} sent other bytes than ${this.digest}`;
      throw fetchError('DIGEST_MISMATCH', text, this.digest);
    }
    const hashes = chunkHashesFromLeaves(leaves, layoutOf(this.size));
    const blob = await spool.commit({ hashes });
    if (this.#readers > 0) this.#kept = blob.retain();
  }
}

async function nextOf(
  body: AsyncIterator<Buffer>,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  using limit = deadline(PASSTHROUGH_STALL_MS, signal);
  const step = await abortable(body.next(), limit.signal);
  return step.done === true ? undefined : step.value;
}
