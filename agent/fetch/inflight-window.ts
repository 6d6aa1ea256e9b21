import { CHUNKS_PER_INFLIGHT, DOWNLOAD_INFLIGHT_MIN, INFLIGHT_LANDING_MS } from './constants.ts';

/**
 * How many chunks to ask for at a time, of all sources together. What is asked for has to come as a
 * whole before anybody else can be given it, and with more on their way each takes longer: a chunk
 * crosses the swarm in the time of several windows, which is little only beside a long download.
 * With few on their way, some senders are idle, and fast lines wait for news of what others hold:
 * so no fewer than came within INFLIGHT_LANDING_MS.
 */
export class InflightWindow {
  readonly #least: number;
  readonly #max: number;
  #slice = 0;
  #landed = 0;
  #before = 0;

  constructor(options: { chunkCount: number; max: number }) {
    const part = Math.ceil(options.chunkCount / CHUNKS_PER_INFLIGHT);
    this.#least = Math.max(DOWNLOAD_INFLIGHT_MIN, part);
    this.#max = options.max;
  }

  /** A chunk came, from wherever. */
  landed(nowMs: number): void {
    this.#turn(nowMs);
    this.#landed += 1;
  }

  /** Whether one more fits. A source that is stuck does not keep others from being asked. */
  hasRoom(flights: { size: number; overdue: number }, nowMs: number): boolean {
    return flights.size < this.#max && flights.size - flights.overdue < this.size(nowMs);
  }

  size(nowMs: number): number {
    this.#turn(nowMs);
    return Math.min(this.#max, Math.max(this.#least, this.#landed, this.#before));
  }

  #turn(nowMs: number): void {
    const slice = Math.floor(nowMs / INFLIGHT_LANDING_MS);
    if (slice === this.#slice) return;
    this.#before = slice === this.#slice + 1 ? this.#landed : 0;
    this.#landed = 0;
    this.#slice = slice;
  }
}
