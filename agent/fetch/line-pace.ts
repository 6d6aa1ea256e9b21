import { LINE_QUICK_MS, LINE_SLOW_MS } from './constants.ts';

const SMOOTHING = 0.25;

/**
 * Whether chunks take long over the line to other zones. While they do not, to ask the tracker who
 * fetches which would take longer than the chunk itself.
 */
export class LinePace {
  #usualMs: number | undefined;
  #isSlow = false;

  /** No chunk has come over it, and none takes long. */
  get isUnknown(): boolean {
    return this.#usualMs === undefined && !this.#isSlow;
  }

  get isSlow(): boolean {
    return this.#isSlow;
  }

  landed(tookMs: number): void {
    this.#usualMs ??= tookMs;
    this.#usualMs += (tookMs - this.#usualMs) * SMOOTHING;
    if (this.#usualMs < LINE_QUICK_MS) this.#isSlow = false;
    else if (this.#usualMs > LINE_SLOW_MS) this.#isSlow = true;
  }

  /** A chunk is on its way for so long. */
  waits(ageMs: number): void {
    if (ageMs > LINE_SLOW_MS) this.#isSlow = true;
  }
}
