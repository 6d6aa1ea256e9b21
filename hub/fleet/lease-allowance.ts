export type AllowanceLimits = {
  /** At first and at least, and at most. */
  min: number;
  max: number;
  /** One that took less makes room for one more, one that took more makes it one less. */
  quickMs: number;
  slowMs: number;
};

/**
 * How many chunks one member may be given of one blob at a time, from the hub or another zone: more
 * for one that brings them in quickly. Few at first, or the first to ask would hold most of what
 * the hub can serve for a while, and all others would have to get it through that one uplink.
 */
export class LeaseAllowance {
  readonly #limits: AllowanceLimits;
  #most: number;

  constructor(limits: AllowanceLimits) {
    this.#limits = limits;
    this.#most = limits.min;
  }

  get most(): number {
    return this.#most;
  }

  /** A lease brought its chunk. */
  redeemed(tookMs: number): void {
    const { max, quickMs, slowMs } = this.#limits;
    if (tookMs < quickMs) this.#most = Math.min(max, this.#most + 1);
    if (tookMs > slowMs) this.expired();
  }

  /** A lease ended in nothing. */
  expired(): void {
    this.#most = Math.max(this.#limits.min, this.#most - 1);
  }
}
