import {
  LEASES_OUT_MAX,
  LEASES_OUT_MIN,
  LEASES_PER_BLOB_MIN,
  LEASE_QUICK_MS,
  LEASE_SLOW_MS,
} from './constants.ts';

/**
 * How many leases live at a time, over all blobs: as many as the hub can serve within
 * LEASE_SLOW_MS, since they share its uplink and more would make all of them late. Every blob may
 * have its equal share of them, however many another one holds already.
 */
export class LeasePace {
  #limit = LEASES_OUT_MIN;
  #out = 0;
  #blobs = 0;

  /** Leases that live now. */
  get out(): number {
    return this.#out;
  }

  /** How many more a blob may have that has `own` now. */
  roomFor(own: number): number {
    const blobs = this.#blobs + (own === 0 ? 1 : 0);
    const share = Math.max(LEASES_PER_BLOB_MIN, Math.floor(this.#limit / blobs));
    return Math.max(0, share - own, this.#limit - this.#out);
  }

  /** A blob got a lease; `own` is what it has now. */
  granted(own: number): void {
    this.#out += 1;
    if (own === 1) this.#blobs += 1;
  }

  /** A lease of a blob ended, in whichever way; `own` is what the blob has left. */
  ended(own: number): void {
    this.#out -= 1;
    if (own === 0) this.#blobs -= 1;
  }

  /** A lease brought its chunk. */
  redeemed(tookMs: number): void {
    if (tookMs < LEASE_QUICK_MS) this.#limit = Math.min(LEASES_OUT_MAX, this.#limit + 1);
    if (tookMs > LEASE_SLOW_MS) this.expired();
  }

  /** A lease ended in nothing. */
  expired(): void {
    this.#limit = Math.max(LEASES_OUT_MIN, this.#limit - 1);
  }
}
