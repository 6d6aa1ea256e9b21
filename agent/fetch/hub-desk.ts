import {
  ALONE_MS,
  HUB_PAUSE_MAX_MS,
  LEASES_MAX,
  LEASE_TARGET_MAX,
  LEASE_TARGET_MIN,
  STARVED_CHUNK_TIMES,
  STARVED_MS,
  STARVED_SPREAD_MS,
  UNLEASED_INFLIGHT_MAX,
} from './constants.ts';
import { pauseMs } from './planner-peers.ts';

/** How freely the hub may be asked for chunks we have no lease for. */
export type Unleased = { max: number; inOrder: boolean };

/** What the planner knows of the hub: leases, the tracker's word, failures, own patience. */
export class HubDesk {
  readonly leases = new Set<number>();
  inflight = 0;
  unleasedInflight = 0;
  #failures = 0;
  #pausedUntilMs = 0;
  #trackerUp = true;
  #peersKnown = 0;
  #linked = 0;
  #aloneSinceMs: number | undefined;
  #progressMs: number;
  #target = LEASE_TARGET_MIN;
  #asked = 0;
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

  /** The tracker answered. Leases that ran out before the answer came show that we are fast. */
  leased(indices: readonly number[], peersKnown: number): void {
    this.#trackerUp = true;
    this.#peersKnown = peersKnown;
    if (this.#asked > 0 && this.leases.size === 0 && indices.length > 0) {
      this.#target = Math.min(LEASE_TARGET_MAX, this.#target * 2);
    }
    for (const index of indices) {
      if (this.leases.size < LEASES_MAX) this.leases.add(index);
    }
    this.#asked = 0;
  }

  trackerDown(): void {
    this.#trackerUp = false;
    this.#peersKnown = 0;
    this.#asked = 0;
  }

  /**
   * A chunk came from a peer. What the hub itself brings does not count: leases would hide that
   * chunks are stuck with peers that are gone.
   */
  progress(nowMs: number): void {
    this.#progressMs = nowMs;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  failed(nowMs: number): void {
    this.#pausedUntilMs = nowMs + pauseMs(this.#failures, HUB_PAUSE_MAX_MS, this.#random);
    this.#failures += 1;
  }

  /** Leases worth asking for, or undefined when the tracker was told already. */
  wanted(unavailable: boolean, nowMs: number): number | undefined {
    if (!this.#enabled) return undefined;
    const room =
      unavailable && !this.isAlone(nowMs) ? Math.max(0, this.#target - this.leases.size) : 0;
    const wanted = room > this.#target / 2 || this.leases.size === 0 ? room : 0;
    if (wanted === this.#asked) return undefined;
    this.#asked = wanted;
    return wanted;
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

  /** What may be asked without a lease; a standing reader is not counted here. */
  unleased(nowMs: number, usualMs: number): Unleased {
    if (this.isAlone(nowMs)) return { max: this.#inflightMax, inOrder: true };
    if (!this.isStarved(nowMs, usualMs)) return { max: 0, inOrder: false };
    const others = this.#trackerUp && this.#linked > 0;
    return { max: others ? UNLEASED_INFLIGHT_MAX : this.#inflightMax, inOrder: !others };
  }
}
