import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { RECHECK_PARALLEL } from './constants.ts';
import type { StoreMetrics } from './metrics.ts';

/** What the rechecker needs of a blob. */
export interface Recheckable {
  readonly digest: string;
  readonly layout: { readonly chunkBytes: number };
  readonly pending: { readonly count: number; present(): Iterable<number> };
  recheckChunk(index: number, buffer: Buffer): Promise<boolean>;
}

/**
 * Reads chunks of an earlier boot back and checks their hashes: one blob after the other, in order
 * of first interest, so that a node coming up does not read its whole disk at once.
 */
export class Rechecker {
  readonly #queue = new Set<Recheckable>();
  readonly #logger: Logger;
  readonly #metrics: StoreMetrics;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(modules: { logger: Logger; metrics: StoreMetrics }) {
    this.#logger = modules.logger;
    this.#metrics = modules.metrics;
  }

  /** Queues the blob; bounded by the number of blobs. Starting one twice does nothing. */
  start(blob: Recheckable): void {
    if (this.#closed) return;
    this.#queue.add(blob);
    this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    for (const blob of this.#queue) {
      try {
        await this.#check(blob);
      } catch (err) {
        const reason = messageOf(err);
        this.#logger.warn({ digest: blob.digest, reason }, 'stored chunks could not be read back');
      }
      this.#queue.delete(blob);
    }
    this.#running = undefined;
  }

  async #check(blob: Recheckable): Promise<void> {
    const indices = [...blob.pending.present()];
    let next = 0;
    let lost = 0;
    const lanes = Array.from({ length: RECHECK_PARALLEL }, async () => {
      const buffer = Buffer.allocUnsafeSlow(blob.layout.chunkBytes);
      while (next < indices.length && !this.#closed) {
        const index = indices[next] ?? 0;
        next += 1;
        const good = await blob.recheckChunk(index, buffer);
        if (!good) lost += 1;
        this.#metrics.rechecked.inc({ result: good ? 'good' : 'lost' });
      }
    });
    await Promise.all(lanes);
    const fields = { digest: blob.digest, chunks: indices.length, lost };
    this.#logger.info(fields, 'checked stored chunks of an earlier boot');
  }
}
