import {
  ALONE_MS,
  BYPASS_CREDITS_MAX,
  HUB_PAUSE_MAX_MS,
  LEASES_MAX,
  LEASE_TARGET_MAX,
  LEASE_TARGET_MIN,
  STARVED_CHUNK_TIMES,
  STARVED_LONG_MS,
  STARVED_MS,
  STARVED_SPREAD_MS,
  UNLEASED_INFLIGHT_MAX,
} from './constants.ts';
import { pauseMs } from './planner-peers.ts';
import { SwarmPace } from './swarm-pace.ts';

/**
 * How freely the hub may be asked for chunks we have no lease for: how many at a time, and which:
 * in order, those no peer in working order holds, or any.
 */
export type Unleased = { max: number; choice: 'in-order' | 'unavailable' | 'any' };

/** Leases wished for, and chunks to take without one. */
type Wishes = { wanted: number; bypass: number };

const NOTHING: Wishes = { wanted: 0, bypass: 0 };
const NONE: Unleased = { max: 0, choice: 'unavailable' };

/** What the planner knows of the hub: leases, the tracker's word, failures, own patience. */
export class HubDesk {
  readonly leases = new Set<number>();
  inflight = 0;
  unleasedInflight = 0;
  /** A reader stands at a chunk that only the hub can bring. */
  blocked = false;
  #failures = 0;
  #pausedUntilMs = 0;
  #trackerUp = true;
  #peersKnown = 0;
  #linked = 0;
  #aloneSinceMs: number | undefined;
  #progressMs: number;
  #target = LEASE_TARGET_MIN;
  /** What the tracker was told since its last answer. */
  #told: Wishes = NOTHING;
  /** Chunks we may take without a lease. */
  #credits = 0;
  readonly #pace: SwarmPace;
  readonly #inflightMax: number;
  readonly #enabled: boolean;
  readonly #random: () => number;
  readonly #starvedMs: number;

  constructor(options: {
    enabled: boolean;
    inflightMax: number;
    startMs: number;
    random: () => number;
  }) {
    this.#enabled = options.enabled;
    this.#inflightMax = options.inflightMax;
    this.#progressMs = options.startMs;
    this.#random = options.random;
    this.#pace = new SwarmPace({ startMs: options.startMs, hubInflightMax: options.inflightMax });
    this.#starvedMs = STARVED_MS + options.random() * STARVED_SPREAD_MS;
  }

  get peersKnown(): number {
    return this.#peersKnown;
  }

  get failures(): number {
    return this.#failures;
  }

  isOpen(nowMs: number): boolean {
    return this.#enabled && this.inflight < this.#inflightMax && nowMs >= this.#pausedUntilMs;
  }

  /** The same for one leased chunk more, which others have their own of. */
  isOpenToLease(nowMs: number): boolean {
    return this.isOpen(nowMs) && this.inflight < this.#pace.hubShare;
  }

  /** The tracker answered. Leases that ran out before the answer came show that we are fast. */
  leased(
    indices: readonly number[],
    answer: { peersKnown: number; bypass?: number | undefined },
  ): void {
    this.#trackerUp = true;
    this.#peersKnown = answer.peersKnown;
    if (this.#told.wanted > 0 && this.leases.size === 0 && indices.length > 0) {
      this.#target = Math.min(LEASE_TARGET_MAX, this.#target * 2);
    }
    for (const index of indices) {
      if (this.leases.size < LEASES_MAX) this.leases.add(index);
    }
    const most = BYPASS_CREDITS_MAX - this.#credits;
    this.#credits += Math.min(most, answer.bypass ?? BYPASS_CREDITS_MAX);
    this.#told = NOTHING;
  }

  trackerDown(): void {
    this.#trackerUp = false;
    this.#peersKnown = 0;
    this.#told = NOTHING;
  }

  /** The hub is being asked for a chunk. */
  asked(leased: boolean): void {
    this.inflight += 1;
    if (leased) return;
    this.unleasedInflight += 1;
    this.#credits = Math.max(0, this.#credits - 1);
  }

  /**
   * A chunk came from a peer. What the hub itself brings does not count: leases would hide that
   * chunks are stuck with peers that are gone.
   */
  progress(nowMs: number): void {
    this.#progressMs = nowMs;
    this.#pace.landed(nowMs);
  }

  succeeded(tookMs: number): void {
    this.#failures = 0;
    this.#pace.landedFromHub(tookMs);
  }

  failed(nowMs: number): void {
    this.#pausedUntilMs = nowMs + pauseMs(this.#failures, HUB_PAUSE_MAX_MS, this.#random);
    this.#failures += 1;
  }

  /** Whether leases could be wished for at all. */
  hasLeaseRoom(nowMs: number): boolean {
    return this.#enabled && this.leases.size <= this.#target / 2 && !this.isAlone(nowMs);
  }

  /** What is worth asking the tracker for, or undefined when it was told already. */
  wishes(unheard: boolean, nowMs: number, usualMs: number): Wishes | undefined {
    if (!this.#enabled) return undefined;
    const room = unheard && !this.isAlone(nowMs) ? Math.max(0, this.#target - this.leases.size) : 0;
    const wanted = room > this.#target / 2 || this.leases.size === 0 ? room : 0;
    const needs = (this.blocked && this.#isBudgeted) || this.#needsBypass(nowMs, usualMs);
    const bypass = needs ? BYPASS_CREDITS_MAX - this.#credits : 0;
    if (wanted === this.#told.wanted && bypass === this.#told.bypass) return undefined;
    this.#told = { wanted, bypass };
    return this.#told;
  }

  /** Keeps track of whether there is anybody else at all. */
  noteCompany(linked: number, nowMs: number): void {
    this.#linked = linked;
    if (linked > 0 || this.#peersKnown > 0) this.#aloneSinceMs = undefined;
    else this.#aloneSinceMs ??= nowMs;
  }

  /** Nobody else has been heard of for a while: order and leases would serve no one. */
  isAlone(nowMs: number): boolean {
    if (this.#aloneSinceMs === undefined) return false;
    return nowMs - this.#aloneSinceMs >= (this.#trackerUp ? ALONE_MS : 0);
  }

  /** No peer has brought anything for a while; on slow lines, `usualMs` per chunk, a longer one. */
  isStarved(nowMs: number, usualMs: number): boolean {
    const patienceMs = Math.max(this.#starvedMs, usualMs * STARVED_CHUNK_TIMES);
    return nowMs - this.#progressMs >= patienceMs;
  }

  /**
   * What may be asked without a lease; a standing reader is not counted here. While a tracker
   * answers, its budget has to allow it; who has starved for long asks for one at a time all the
   * same, so that no download depends on the budget.
   */
  unleased(nowMs: number, usualMs: number): Unleased {
    if (this.isAlone(nowMs)) return { max: this.#inflightMax, choice: 'in-order' };
    const starved = this.isStarved(nowMs, usualMs);
    if (starved && !this.#isBudgeted) return { max: this.#inflightMax, choice: 'in-order' };
    if (!this.#needsBypass(nowMs, usualMs)) return NONE;
    const within = Math.min(UNLEASED_INFLIGHT_MAX, this.unleasedInflight + this.#credits);
    const last = nowMs - this.#progressMs >= STARVED_LONG_MS ? 1 : 0;
    return { max: Math.max(within, last), choice: starved ? 'unavailable' : 'any' };
  }

  /** Whether one chunk more may be taken without a lease, as far as the budget goes. */
  get maySpend(): boolean {
    return !this.#isBudgeted || this.#credits > 0;
  }

  /** A tracker and peers are there, so the tracker's budget counts. */
  get #isBudgeted(): boolean {
    return this.#trackerUp && this.#linked > 0;
  }

  /** Peers bring nothing, or the hub alone would be faster than they are. */
  #needsBypass(nowMs: number, usualMs: number): boolean {
    if (!this.#isBudgeted || this.isAlone(nowMs)) return false;
    return this.isStarved(nowMs, usualMs) || this.#pace.isPoor(nowMs);
  }
}
