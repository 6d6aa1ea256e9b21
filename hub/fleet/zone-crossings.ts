import {
  CROSSINGS_PER_MEMBER_MAX,
  CROSSINGS_PER_MEMBER_MIN,
  CROSSINGS_PER_ZONE_MAX,
  CROSSINGS_PER_ZONE_MIN,
  CROSSING_MAX_MS,
  CROSSING_QUICK_MS,
  CROSSING_SLOW_MS,
  LEASE_MS,
} from './constants.ts';
import { LeaseAllowance } from './lease-allowance.ts';

const PACE = { quickMs: CROSSING_QUICK_MS, slowMs: CROSSING_SLOW_MS };
const PER_ZONE = { min: CROSSINGS_PER_ZONE_MIN, max: CROSSINGS_PER_ZONE_MAX, ...PACE };
const PER_MEMBER = { min: CROSSINGS_PER_MEMBER_MIN, max: CROSSINGS_PER_MEMBER_MAX, ...PACE };

type Crossing = { readonly peerId: string; readonly grantedMs: number; endMs: number };

type Fetcher = { readonly open: Set<number>; readonly allowance: LeaseAllowance };

/**
 * Which chunks of one blob members of one zone fetch from other zones now, so that each comes over
 * the line between the zones about once, and no more at a time than come over it soon. Without I/O
 * or clock.
 */
export class ZoneCrossings {
  readonly #crossings = new Map<number, Crossing>();
  readonly #fetchers = new Map<string, Fetcher>();
  readonly #allowance = new LeaseAllowance(PER_ZONE);
  /** No crossing ends before. */
  #nextEndMs = Number.POSITIVE_INFINITY;

  /** Chunks that a member fetches. */
  openOf(peerId: string): number {
    return this.#fetchers.get(peerId)?.open.size ?? 0;
  }

  /**
   * The chunks among `wanted` that the member may fetch; those it fetches already go on being its
   * own, for CROSSING_MAX_MS at most. `isSought`: the zone has to get the chunk from others.
   */
  grant(
    peerId: string,
    wanted: readonly number[],
    { nowMs, isSought }: { nowMs: number; isSought: (index: number) => boolean },
  ): number[] {
    this.#expire(nowMs);
    const { open, allowance } = this.#fetcher(peerId);
    const granted: number[] = [];
    for (const index of wanted) {
      const known = this.#crossings.get(index);
      if (known !== undefined) {
        if (known.peerId !== peerId) continue;
        known.endMs = Math.min(nowMs + LEASE_MS, known.grantedMs + CROSSING_MAX_MS);
      } else {
        const isRoom = this.#crossings.size < this.#allowance.most && open.size < allowance.most;
        if (!isRoom || !isSought(index)) continue;
        this.#crossings.set(index, { peerId, grantedMs: nowMs, endMs: nowMs + LEASE_MS });
        this.#nextEndMs = Math.min(this.#nextEndMs, nowMs + LEASE_MS);
        open.add(index);
      }
      granted.push(index);
    }
    return granted;
  }

  /** The zone has the chunk now, whoever brought it. */
  arrived(index: number, nowMs: number): void {
    const crossing = this.#crossings.get(index);
    if (crossing === undefined) return;
    const tookMs = nowMs - crossing.grantedMs;
    this.#fetchers.get(crossing.peerId)?.allowance.redeemed(tookMs);
    this.#allowance.redeemed(tookMs);
    this.#end(index, crossing);
  }

  /** The zone has all chunks now. */
  arrivedAll(nowMs: number): void {
    for (const index of this.#crossings.keys()) this.arrived(index, nowMs);
  }

  /** The member is gone, and what it would have fetched is free again. */
  leave(peerId: string): void {
    for (const index of this.#fetchers.get(peerId)?.open ?? []) this.#crossings.delete(index);
    this.#fetchers.delete(peerId);
  }

  #fetcher(peerId: string): Fetcher {
    const known = this.#fetchers.get(peerId);
    if (known !== undefined) return known;
    const allowance = new LeaseAllowance(PER_MEMBER);
    const fetcher = { open: new Set<number>(), allowance };
    this.#fetchers.set(peerId, fetcher);
    return fetcher;
  }

  #expire(nowMs: number): void {
    if (nowMs < this.#nextEndMs) return;
    this.#nextEndMs = Number.POSITIVE_INFINITY;
    for (const [index, crossing] of this.#crossings) {
      if (nowMs < crossing.endMs) {
        this.#nextEndMs = Math.min(this.#nextEndMs, crossing.endMs);
        continue;
      }
      this.#fetchers.get(crossing.peerId)?.allowance.expired();
      this.#allowance.expired();
      this.#end(index, crossing);
    }
  }

  #end(index: number, { peerId }: Crossing): void {
    this.#crossings.delete(index);
    this.#fetchers.get(peerId)?.open.delete(index);
  }
}
