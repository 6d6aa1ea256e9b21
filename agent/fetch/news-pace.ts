import { HAVE_CHUNKS, HAVE_SPACING_MAX_MS, HAVE_SPACING_MS } from './constants.ts';

const SMOOTHING = 0.1;

/**
 * How long to leave a peer alone between two questions about what it holds: as long as this
 * download takes for HAVE_CHUNKS chunks. On a slow line each single chunk of each peer would
 * otherwise be told by a message of its own, at a higher price than the chunk itself.
 */
export class NewsPace {
  #lastMs: number;
  #gapMs = 0;

  constructor(options: { startMs: number }) {
    this.#lastMs = options.startMs;
  }

  /** A chunk came, from wherever. */
  landed(nowMs: number): void {
    // One long pause must not hide for long that chunks come quickly again.
    const gapMs = Math.min(nowMs - this.#lastMs, HAVE_SPACING_MAX_MS);
    this.#gapMs += (gapMs - this.#gapMs) * SMOOTHING;
    this.#lastMs = nowMs;
  }

  get spacingMs(): number {
    return Math.min(HAVE_SPACING_MAX_MS, Math.max(HAVE_SPACING_MS, this.#gapMs * HAVE_CHUNKS));
  }
}
