import {
  LEASES_PER_MEMBER_MAX,
  LEASES_PER_MEMBER_MIN,
  LEASE_QUICK_MS,
  LEASE_SLOW_MS,
} from './constants.ts';

/**
 * How many leases one member may have of one blob at a time: more for one that brings them in
 * quickly. Few at first, or the first to ask would hold most of what the hub can serve for a while,
 * and all others would have to get it through that one uplink.
 */
export class LeaseAllowance {
  #most = LEASES_PER_MEMBER_MIN;

  get most(): number {
    return this.#most;
  }

  /** A lease brought its chunk. */
  redeemed(tookMs: number): void {
    if (tookMs < LEASE_QUICK_MS) this.#most = Math.min(LEASES_PER_MEMBER_MAX, this.#most + 1);
    if (tookMs > LEASE_SLOW_MS) this.expired();
  }

  /** A lease ended in nothing. */
  expired(): void {
    this.#most = Math.max(LEASES_PER_MEMBER_MIN, this.#most - 1);
  }
}
