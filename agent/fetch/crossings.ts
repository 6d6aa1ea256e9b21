import { CROSSINGS_WANTED_MAX } from '../../proto/hubapi/constants.ts';
import { clearBit, lowestBit, newBits } from './chunk-bits.ts';
import type { ChunkTable } from './chunk-table.ts';
import {
  CROSSING_DECLINED_MS,
  CROSSING_KEPT_MS,
  CROSSING_PATIENCE_CHUNKS,
  CROSSING_PATIENCE_MIN_MS,
  CROSSING_PATIENCE_MS,
  CROSSING_PATIENCE_SPREAD_MS,
  FAR_INFLIGHT_MAX,
  FAR_INFLIGHT_UNKNOWN,
} from './constants.ts';
import type { Flights } from './flights.ts';
import { LinePace } from './line-pace.ts';
import type { PlannerPeers } from './planner-peers.ts';
import type { ReaderState } from './planner-port.ts';
import { hasStood } from './urgency.ts';

/**
 * Which chunks may be fetched from other zones. Over a slow line those that the tracker lets us
 * fetch for our zone, so that each crosses it about once. Over a quick one, or when nobody knows
 * who fetches what, any that our zone lacks. Alone in our zone any.
 */
export class Crossings {
  readonly #table: ChunkTable;
  readonly #flights: Flights;
  readonly #line = new LinePace();
  readonly #peers: Pick<PlannerPeers, 'available' | 'farCount' | 'hasNear'>;
  readonly #patienceAtFirstMs: number;
  #patienceMs: number;
  /** Of the last answer of `closed`. */
  readonly #scratch: Uint32Array;
  /** Chunks at which a reader stood for too long. */
  readonly #opened = new Set<number>();
  /** Until when those are ours that we have not asked anybody for. */
  readonly #granted = new Map<number, number>();
  /** Another of our zone fetches them, or too many are on their way: not asked for until then. */
  readonly #declined = new Map<number, number>();
  #asked: readonly number[] = [];
  /** The tracker knows who fetches what. */
  #isGoverned = true;
  #progressMs: number;
  #freeUntilMs = Number.NEGATIVE_INFINITY;

  constructor(
    options: { startMs: number; random: () => number },
    modules: {
      table: ChunkTable;
      flights: Flights;
      peers: Pick<PlannerPeers, 'available' | 'farCount' | 'hasNear'>;
    },
  ) {
    this.#table = modules.table;
    this.#flights = modules.flights;
    this.#progressMs = options.startMs;
    this.#peers = modules.peers;
    this.#patienceMs = CROSSING_PATIENCE_MS + options.random() * CROSSING_PATIENCE_SPREAD_MS;
    this.#patienceAtFirstMs = this.#patienceMs;
    this.#scratch = newBits(modules.table.count);
  }

  /** Whether only what was granted may be fetched. */
  isGoverned(nowMs: number): boolean {
    const isShared = this.#isGoverned && this.#peers.hasNear;
    return isShared && this.#line.isSlow && nowMs >= this.#freeUntilMs;
  }

  /** Chunk requests in flight to other zones. */
  get inflightMax(): number {
    const isTrial = this.#isGoverned && this.#peers.hasNear && this.#line.isUnknown;
    return isTrial ? FAR_INFLIGHT_UNKNOWN : FAR_INFLIGHT_MAX;
  }

  /** A chunk came from another zone. */
  took(ms: number): void {
    this.#line.landed(ms);
  }

  /** A chunk from another zone is on its way for so long. */
  waits(ageMs: number): void {
    this.#line.waits(ageMs);
  }

  /** Chunks that are not to be fetched from other zones; holds until it is called again. */
  closed(nowMs: number): Uint32Array {
    const { heardNear, everything, nothing } = this.#table;
    // The very set, by which who picks knows that a peer without a chunk has none for us at all.
    if (!this.#peers.hasNear) return nothing;
    const isGoverned = this.isGoverned(nowMs);
    if (!isGoverned && this.#opened.size === 0) return heardNear;
    this.#scratch.set(isGoverned ? everything : heardNear);
    if (isGoverned) for (const index of this.#granted.keys()) clearBit(this.#scratch, index);
    for (const index of this.#opened) clearBit(this.#scratch, index);
    return this.#scratch;
  }

  /** Whether a reader stood at the chunk for too long. */
  isOpened(index: number): boolean {
    return this.#opened.has(index);
  }

  /** A chunk is here that was not before. */
  progress(nowMs: number): void {
    this.#progressMs = nowMs;
  }

  /** The tracker answered; undefined: it does not know who fetches what. */
  answered(granted: readonly number[] | undefined, nowMs: number): void {
    this.#isGoverned = granted !== undefined;
    for (const index of granted ?? []) this.#grant(index, nowMs);
    if (granted !== undefined && granted.length > 0) this.#patienceMs = this.#patienceAtFirstMs;
    for (const index of this.#asked) {
      if (!this.#granted.has(index)) this.#declined.set(index, nowMs + CROSSING_DECLINED_MS);
    }
    this.#asked = [];
  }

  trackerDown(): void {
    this.#isGoverned = false;
    this.#asked = [];
  }

  /**
   * What to ask the tracker for: what is on its way, so that it stays ours, then others, what is
   * read first first. Counts as asked for.
   */
  wanted(cursor: number, nowMs: number): readonly number[] {
    if (this.#peers.farCount === 0 || !this.isGoverned(nowMs)) return [];
    for (const [index, untilMs] of this.#declined) {
      if (untilMs <= nowMs) this.#declined.delete(index);
    }
    const found: number[] = [];
    for (const index of this.#granted.keys()) {
      const isUnderWay = this.#flights.of(index).some((flight) => flight.startedMs !== undefined);
      if (isUnderWay && found.length < CROSSINGS_WANTED_MAX) found.push(index);
    }
    const near = this.#peers.available(nowMs, ({ near: isNear }) => isNear);
    this.#collect(found, near, { from: cursor, end: this.#table.count });
    this.#collect(found, near, { from: 0, end: cursor });
    this.#asked = found;
    return found;
  }

  /**
   * Forgets what came from elsewhere or was not asked for in time, and helps those who waited for
   * too long: a reader gets its next chunks, a download that stands still any for as long again.
   */
  review(readers: readonly ReaderState[], nowMs: number): void {
    for (const [index, untilMs] of this.#granted) {
      const isOld = untilMs <= nowMs && this.#flights.of(index).length === 0;
      if (this.#table.isWanted(index) && !isOld) continue;
      this.#granted.delete(index);
    }
    for (const index of this.#opened) if (!this.#table.isWanted(index)) this.#opened.delete(index);
    this.#openFor(readers, nowMs);
    if (nowMs - this.#progressMs < this.#patienceMs) return;
    this.#progressMs = nowMs;
    this.#freeUntilMs = nowMs + this.#patienceMs;
  }

  #openFor(readers: readonly ReaderState[], nowMs: number): void {
    for (const reader of readers) {
      let index = this.#table.firstGap(reader.chunk);
      if (this.#opened.has(index) || !hasStood(reader, nowMs, this.#patienceMs)) continue;
      for (let count = 0; count < CROSSING_PATIENCE_CHUNKS; count += 1) {
        if (this.#table.isWanted(index)) this.#opened.add(index);
        index = this.#table.firstGap(index + 1);
      }
      this.#patienceMs = Math.max(CROSSING_PATIENCE_MIN_MS, this.#patienceMs / 2);
    }
  }

  /**
   * Chunks from `from` to before `end` that peers hold, but none of our zone in working order, and
   * that nobody was asked for.
   */
  #collect(found: number[], near: Uint32Array, { from, end }: { from: number; end: number }): void {
    const { wanted, heard } = this.#table;
    const { busy } = this.#flights;
    for (let at = from >> 5; at * 32 < end; at += 1) {
      let bits = (wanted[at] ?? 0) & (heard[at] ?? 0) & ~(near[at] ?? 0) & ~(busy[at] ?? 0);
      for (; bits !== 0; bits &= bits - 1) {
        if (found.length >= CROSSINGS_WANTED_MAX) return;
        const index = at * 32 + lowestBit(bits);
        if (index < from || index >= end) continue;
        if (!this.#declined.has(index) && !this.#granted.has(index)) found.push(index);
      }
    }
  }

  #grant(index: number, nowMs: number): void {
    if (!this.#table.isWanted(index)) return;
    this.#granted.set(index, nowMs + CROSSING_KEPT_MS);
    this.#declined.delete(index);
  }
}
