import { BYPASS_GAIN, BYPASS_WARMUP_MS, BYPASS_WINDOW_MS } from './constants.ts';

const SMOOTHING = 0.25;

/** How fast peers bring chunks, and how fast the hub alone would, judged by what it did bring. */
export class SwarmPace {
  readonly #startMs: number;
  readonly #hubInflightMax: number;
  #windowMs: number;
  #landed = 0;
  /** Chunks per ms in the last whole window; undefined before its end. */
  #rate: number | undefined;
  #hubTookMs: number | undefined;

  constructor(options: { startMs: number; hubInflightMax: number }) {
    this.#startMs = options.startMs;
    this.#windowMs = options.startMs;
    this.#hubInflightMax = options.hubInflightMax;
  }

  /** A chunk came from a peer. */
  landed(nowMs: number): void {
    this.#turn(nowMs);
    this.#landed += 1;
  }

  landedFromHub(tookMs: number): void {
    this.#hubTookMs ??= tookMs;
    this.#hubTookMs += (tookMs - this.#hubTookMs) * SMOOTHING;
  }

  /** Whether the hub alone would be faster by BYPASS_GAIN. */
  isPoor(nowMs: number): boolean {
    this.#turn(nowMs);
    if (this.#rate === undefined || this.#hubTookMs === undefined) return false;
    if (nowMs - this.#startMs < BYPASS_WARMUP_MS) return false;
    return this.#hubInflightMax / Math.max(1, this.#hubTookMs) > this.#rate * BYPASS_GAIN;
  }

  #turn(nowMs: number): void {
    const passedMs = nowMs - this.#windowMs;
    if (passedMs < BYPASS_WINDOW_MS) return;
    this.#rate = this.#landed / passedMs;
    this.#landed = 0;
    this.#windowMs = nowMs;
  }
}
