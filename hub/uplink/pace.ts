import { BODY_PART, UPLINK_BURST_MS } from './constants.ts';

/**
 * As much as a link of known rate carries, so that what waits does so here and not in sockets: the
 * kernel takes megabytes for each of them, and the link then is every connection's alike. Without
 * I/O or clock.
 */
export class Pace {
  readonly #bytesPerMs: number;
  #busyUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: { bytesPerSecond: number }) {
    this.#bytesPerMs = (options.bytesPerSecond * BODY_PART) / 1000;
  }

  /** How long until the next slice of any body may go to its socket: 0 is now. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#busyUntilMs - nowMs);
  }

  /** A slice goes to its socket. */
  sends(bytes: number, nowMs: number): void {
    const from = Math.max(this.#busyUntilMs, nowMs - UPLINK_BURST_MS);
    this.#busyUntilMs = from + bytes / this.#bytesPerMs;
  }
}
