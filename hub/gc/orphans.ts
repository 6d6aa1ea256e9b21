import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { BlobLister } from '../blobs/port.ts';
import { GC_LOOK_MS } from './constants.ts';
import type { GcMetrics } from './metrics.ts';
import type { OrphanStore } from './store.ts';

type Modules = {
  store: OrphanStore;
  blobs: BlobLister;
  metrics: { orphans: Pick<GcMetrics['orphans'], 'inc'> };
  logger: Logger;
  now?: () => number;
};

/**
 * Looks, a step at a time and round and round, for bytes that a hub stored and did not live to
 * record. They go into quarantine, from where collections remove them as any other blob, and a
 * push takes them back.
 */
export class OrphanSearch {
  readonly #modules: Modules;
  #from: string | undefined;
  #running: Promise<void> | undefined;

  constructor(modules: Modules) {
    this.#modules = modules;
  }

  /** Takes a step now and then until disposed. */
  start(): AsyncDisposable {
    const timer = setInterval(() => {
      this.#running ??= this.#look().finally(() => (this.#running = undefined));
    }, GC_LOOK_MS).unref();
    return {
      [Symbol.asyncDispose]: async () => {
        clearInterval(timer);
        await this.#running;
      },
    };
  }

  /**
   * Takes one step; false when it was the last of a round.
   * @throws BlobStoreError; errors of the catalog
   */
  async step(): Promise<boolean> {
    const { store, blobs, metrics, logger, now = Date.now } = this.#modules;
    const { blobs: found, next } = await blobs.stored(this.#from);
    this.#from = next;
    const adopted = await store.adopt(found, now());
    for (const digest of adopted) {
      metrics.orphans.inc();
      logger.info({ digest }, 'bytes that nobody knew went into quarantine');
    }
    return next !== undefined;
  }

  async #look(): Promise<void> {
    try {
      await this.step();
    } catch (err) {
      const reason = messageOf(err);
      this.#modules.logger.warn({ reason }, 'stored blobs could not be compared with the catalog');
    }
  }
}
