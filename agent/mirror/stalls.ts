import type { Digest } from '../../proto/oci/digest.ts';

type Stall = { progress: number; untilMs: number };

/**
 * Digests whose delivery stood still. A runtime that comes back for one at its offset is sent to
 * its next host, until bytes arrive here again or the memory of the stall fades.
 */
export class StallBook {
  readonly #stalls = new Map<Digest, Stall>();
  readonly #max: number;
  readonly #memoryMs: number;
  readonly #progressOf: (digest: Digest) => number;
  readonly #now: () => number;

  constructor(options: {
    max: number;
    memoryMs: number;
    /** Rises whenever bytes of the digest are verified here. */
    progressOf: (digest: Digest) => number;
    now?: () => number;
  }) {
    this.#max = options.max;
    this.#memoryMs = options.memoryMs;
    this.#progressOf = options.progressOf;
    this.#now = options.now ?? performance.now.bind(performance);
  }

  mark(digest: Digest): void {
    this.#stalls.delete(digest);
    const oldest = this.#stalls.keys().next();
    if (this.#stalls.size >= this.#max && oldest.done === false) this.#stalls.delete(oldest.value);
    const untilMs = this.#now() + this.#memoryMs;
    this.#stalls.set(digest, { progress: this.#progressOf(digest), untilMs });
  }

  /** See `progressOf`. */
  progress(digest: Digest | undefined): number {
    return digest === undefined ? 0 : this.#progressOf(digest);
  }

  isStalled(digest: Digest): boolean {
    const stall = this.#stalls.get(digest);
    if (stall === undefined) return false;
    if (this.#now() < stall.untilMs && this.#progressOf(digest) === stall.progress) return true;
    this.#stalls.delete(digest);
    return false;
  }

  get size(): number {
    return this.#stalls.size;
  }
}
