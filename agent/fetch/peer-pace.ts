import { PEER_INFLIGHT_MAX, PEER_INFLIGHT_MIN, PEER_INFLIGHT_START } from './constants.ts';

const SMOOTHING = 0.25;

/**
 * How fast one peer brings chunks, and so how many requests keep it busy: as many as it brings
 * during the time one request takes when it is alone, and one more.
 */
export class PeerPace {
  /** Requests that keep the peer busy. */
  depth = PEER_INFLIGHT_START;
  /** Chunks it brought so far. */
  landed = 0;
  /** How long the last one took, from the request on: others ask it too. */
  lastMs = 0;
  #intervalMs = 0;
  #aloneMs = Number.POSITIVE_INFINITY;
  #landedMs = Number.NEGATIVE_INFINITY;

  /** A chunk came that was asked for `tookMs` ago; `idle`: no other request was with the peer. */
  chunk(nowMs: number, tookMs: number, max: number): void {
    const sinceLastMs = nowMs - this.#landedMs;
    this.#landedMs = nowMs;
    this.landed += 1;
    this.lastMs = tookMs;
    // A request that waited for its turn behind another shows the pace, one that did not the trip.
    if (sinceLastMs < tookMs) {
      const first = this.#intervalMs === 0;
      this.#intervalMs = first
        ? sinceLastMs
        : this.#intervalMs + (sinceLastMs - this.#intervalMs) * SMOOTHING;
    } else this.#aloneMs = Math.min(this.#aloneMs, tookMs);
    if (this.#intervalMs === 0) return;
    const trip = Math.min(this.#aloneMs, tookMs);
    const wanted = 1 + Math.ceil(trip / Math.max(this.#intervalMs, trip / PEER_INFLIGHT_MAX));
    this.depth = Math.min(max, PEER_INFLIGHT_MAX, Math.max(PEER_INFLIGHT_MIN, wanted));
  }
}
