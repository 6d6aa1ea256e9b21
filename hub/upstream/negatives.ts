import { LRUCache } from 'lru-cache';
import { NEGATIVES_MAX } from './pull-constants.ts';

/** What upstreams said lately that they do not have. */
export class Negatives {
  readonly #names: LRUCache<string, true>;

  /** `now`: ms since any moment. */
  constructor(options: { now: () => number }) {
    this.#names = new LRUCache({
      max: NEGATIVES_MAX,
      ttl: 1,
      perf: { now: options.now },
      ttlResolution: 0,
    });
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  add(name: string, ms: number): void {
    if (ms > 0) this.#names.set(name, true, { ttl: ms });
  }

  delete(name: string): void {
    this.#names.delete(name);
  }
}
