import { BYPASS_GAIN, BYPASS_WARMUP_MS, BYPASS_WINDOW_MS, HUB_SHARE_MS } from './constants.ts';

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

  /**
   * How many chunks to ask the hub for at a time: more than one while it is quick, that is while
   * few share it. Otherwise all of them would only come later, and with them what can be passed on.
   */
  get hubShare(): number {
    const inTurn = Math.floor(HUB_SHARE_MS / Math.max(1, this.#hubTookMs ?? HUB_SHARE_MS));
    return Math.min(this.#hubInflightMax, Math.max(1, inTurn));
  }

  /** Whether the hub alone would be faster by BYPASS_GAIN. */
  isPoor(nowMs: number): boolean {
    this.#turn(nowMs);
    if (this.#rate === undefined || this.#hubTookMs === undefined) return false;
    if (nowMs - this.#startMs < BYPASS_WARMUP_MS) return false;
    return this.hubShare / Math.max(1, this.#hubTookMs) > this.#rate * BYPASS_GAIN;
  }

  #turn(nowMs: number): void {
    const passedMs = nowMs - this.#windowMs;
    if (passedMs < BYPASS_WINDOW_MS) return;
    this.#rate = this.#landed / passedMs;
    this.#landed = 0;
    this.#windowMs = nowMs;
  }
}
