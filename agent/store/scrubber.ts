import { availableParallelism, loadavg } from 'node:os';
import type { Logger } from '../../proto/ops/logger.ts';
import { sleep } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { INDEX_BATCH, SCRUB_BUSY_MS, SCRUB_IDLE_MS, SCRUB_LOAD_MAX } from './constants.ts';
import type { Holdings, HeldBlob } from './holdings.ts';
import type { StoreMetrics } from './metrics.ts';
import type { SmallFiles } from './small-files.ts';
import type { IndexedEntry, StoreIndex } from './store-index.ts';

export type ScrubOptions = {
  /** Content that was not hashed for so long is due. 0: nothing ever is. */
  periodMs: number;
  /** Bytes a second, at most. */
  rateBytes: number;
};

export type ScrubModules = {
  index: Pick<StoreIndex, 'due' | 'checked' | 'lowerChecks'>;
  holdings: Pick<Holdings, 'entry' | 'drop' | 'bring'>;
  small: Pick<SmallFiles, 'read'>;
  metrics: StoreMetrics;
  logger: Logger;
  now: () => number;
  /** Others read or write here, or the node has other work. */
  isBusy: () => boolean;
  sleep?: typeof sleep;
};

/**
 * Hashes again what was not hashed for a while, the oldest first, at a bounded rate. It stands back
 * while the node is busy, but not for ever: content that is due for a whole period is hashed all
 * the same, so that everything is looked at once in two periods and the time that the rate takes.
 */
export class Scrubber {
  readonly #options: ScrubOptions;
  readonly #modules: ScrubModules;
  readonly #sleep: typeof sleep;
  readonly #stop = new AbortController();
  #freeMs = 0;
  #running: Promise<void> | undefined;

  constructor(options: ScrubOptions, modules: ScrubModules) {
    this.#options = options;
    this.#modules = modules;
    this.#sleep = modules.sleep ?? sleep;
  }

  start(): void {
    if (this.#options.periodMs > 0) this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the store is closing'));
    await this.#running;
  }

  /** Hashes all that is due now. @throws the reason of the stop */
  async round(): Promise<void> {
    const { index, now } = this.#modules;
    index.lowerChecks();
    const dueMs = now() - this.#options.periodMs;
    for (;;) {
      const entries = index.due(dueMs, INDEX_BATCH);
      if (entries.length === 0) return;
      for (const entry of entries) {
        this.#stop.signal.throwIfAborted();
        // oxlint-disable-next-line no-await-in-loop -- at a bounded rate
        await this.#check(entry);
        index.checked(entry.digest, now());
      }
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- until the stop
        await this.#sleep(SCRUB_IDLE_MS, { signal });
        // oxlint-disable-next-line no-await-in-loop -- until the stop
        await this.round();
      } catch (err) {
        if (signal.aborted) return;
        this.#modules.logger.warn({ reason: messageOf(err) }, 'stored content was not scrubbed');
      }
    }
  }

  async #check(entry: IndexedEntry): Promise<void> {
    if (entry.leaving) return;
    const { holdings, small, metrics } = this.#modules;
    if (entry.kind === 'small') {
      await this.#turn(entry, entry.bytes);
      if (holdings.entry(entry.digest) === undefined) return;
      if ((await small.read(entry.digest)) === undefined) {
        this.#damaged(entry, 1);
        await holdings.drop(entry.digest);
      }
      metrics.scrubbed.inc(entry.bytes);
      return;
    }
    const blob = await holdings.bring(entry);
    if (blob !== undefined) await this.#checkBlob(entry, blob);
  }

  async #checkBlob(entry: IndexedEntry, blob: HeldBlob): Promise<void> {
    const { chunkCount, chunkBytes } = blob.layout;
    const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, blob.size));
    let damaged = 0;
    for (let index = 0; index < chunkCount; index += 1) {
      if (!blob.have.has(index) && !blob.pending.has(index)) continue;
      const bytes = Math.min(chunkBytes, blob.size - index * chunkBytes);
      // oxlint-disable-next-line no-await-in-loop -- at a bounded rate
      await this.#turn(entry, bytes);
      // What waits for its turn may be evicted, however long that takes.
      if (this.#modules.holdings.entry(entry.digest) === undefined) break;
      using kept = blob.hold();
      void kept;
      // oxlint-disable-next-line no-await-in-loop -- one chunk in memory
      if (!(await blob.scrubChunk(index, buffer))) damaged += 1;
      this.#modules.metrics.scrubbed.inc(bytes);
    }
    if (damaged > 0) this.#damaged(entry, damaged);
  }

  /** Waits until the node has time, and until the rate allows so many more bytes. */
  async #turn(entry: IndexedEntry, bytes: number): Promise<void> {
    const { isBusy, metrics, now } = this.#modules;
    const { signal } = this.#stop;
    const { periodMs, rateBytes } = this.#options;
    while (isBusy() && now() - entry.checkedMs < 2 * periodMs) {
      metrics.scrubPauses.inc();
      // oxlint-disable-next-line no-await-in-loop -- until the node has time
      await this.#sleep(SCRUB_BUSY_MS, { signal });
    }
    const nowMs = performance.now();
    const waitMs = this.#freeMs - nowMs;
    this.#freeMs = Math.max(this.#freeMs, nowMs) + (bytes * 1000) / rateBytes;
    if (waitMs > 0) await this.#sleep(waitMs, { signal });
    signal.throwIfAborted();
  }

  #damaged(entry: IndexedEntry, chunks: number): void {
    const { metrics, logger } = this.#modules;
    metrics.scrubDamaged.inc(chunks);
    const fields = { digest: entry.digest, chunks };
    logger.warn(fields, 'stored content has rotted and was dropped; look at the disk');
  }
}

/** Whether the node as a whole has more to do than its processors manage. */
export function isNodeBusy(): boolean {
  const [minute = 0] = loadavg();
  return minute / availableParallelism() > SCRUB_LOAD_MAX;
}
