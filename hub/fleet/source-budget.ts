import { SOURCE_BUDGET_BURST_MS } from './constants.ts';

/**
 * What all agents together may take from the hub or upstreams beside their leases: a bucket of
 * bytes that fills at a given rate. Without I/O or clock.
 */
export class SourceBudget {
  #bytesPerMs: number;
  #bytes: number;
  #filledMs: number | undefined;

  constructor(options: { bytesPerSecond: number }) {
    this.#bytesPerMs = options.bytesPerSecond / 1000;
    this.#bytes = this.#burstBytes;
  }

  /** It fills at another rate from now on. */
  set bytesPerSecond(rate: number) {
    this.#bytesPerMs = rate / 1000;
    this.#bytes = Math.min(this.#bytes, this.#burstBytes);
  }

  get #burstBytes(): number {
    return this.#bytesPerMs * SOURCE_BUDGET_BURST_MS;
  }

  /** Hands out up to `wanted` chunks, as far as there are bytes for them. */
  take(wanted: number, chunkBytes: number, nowMs: number): number {
    const passedMs = Math.max(0, nowMs - (this.#filledMs ?? nowMs));
    this.#filledMs = nowMs;
    this.#bytes = Math.min(
      Math.max(this.#burstBytes, chunkBytes),
      this.#bytes + passedMs * this.#bytesPerMs,
    );
    const count = Math.max(0, Math.min(wanted, Math.floor(this.#bytes / chunkBytes)));
    this.#bytes -= count * chunkBytes;
    return count;
  }
}
