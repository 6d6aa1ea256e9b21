import { BitsReader, hasBit, isFull, newBits } from './chunk-bits.ts';
import type { ChunkTable } from './chunk-table.ts';
import {
  BUSY_PAUSE_MAX_MS,
  PLANNER_PEERS_MAX,
  SOURCE_PAUSE_MAX_MS,
  SOURCE_PAUSE_MIN_MS,
} from './constants.ts';
import { PeerPace } from './peer-pace.ts';
import type { ChunkSet } from './planner-port.ts';

export type PeerState = {
  readonly id: string;
  /** Of our own zone. */
  readonly near: boolean;
  readonly pace: PeerPace;
  readonly upMs: number;
  /** What it holds, as far as it told and was not found to lack. */
  readonly have: Uint32Array;
  isKnown: boolean;
  complete: boolean;
  flights: number;
  overdue: number;
  failures: number;
  pausedUntilMs: number;
  /** Nothing to ask it for, until something changes. */
  idle: boolean;
  /** Asked for nothing more: it is let go when its requests have ended. */
  leaving: boolean;
  /** What it had brought when peers were compared last. */
  landedBefore: number;
};

/** Pause after the nth failure in a row, in milliseconds. */
export function pauseMs(failures: number, maxMs: number, random: () => number): number {
  const whole = Math.min(maxMs, SOURCE_PAUSE_MIN_MS * 2 ** Math.min(failures, 16));
  return whole / 2 + (random() * whole) / 2;
}

/** The peers of one download, as the planner sees them. */
export class PlannerPeers {
  /** Requests in flight to those of other zones. */
  farInflight = 0;
  readonly #peers = new Map<string, PeerState>();
  readonly #table: ChunkTable;
  readonly #random: () => number;
  /** The same peers in a row, for loops. */
  #list: PeerState[] = [];
  /** Where news of a peer are read to. */
  readonly #reader: BitsReader;
  #far = 0;

  constructor(table: ChunkTable, random: () => number) {
    this.#table = table;
    this.#random = random;
    this.#reader = new BitsReader(table.count);
  }

  get size(): number {
    return this.#peers.size;
  }

  /** How many are of other zones. */
  get farCount(): number {
    return this.#far;
  }

  /** Whether any is of our own zone. */
  get hasNear(): boolean {
    return this.#far < this.#peers.size;
  }

  get(peerId: string): PeerState | undefined {
    return this.#peers.get(peerId);
  }

  /** All of them; do not keep it. */
  get list(): readonly PeerState[] {
    return this.#list;
  }

  /**
   * Of those that may be asked, those first that are quickest now, to a whole number of the usual
   * duration, in random order among equals: with few requests on their way, senders with a queue
   * must not get more while others are idle. Who brought nothing yet counts as quick.
   */
  bySpeed(usualMs: number, mayAsk: (peer: PeerState) => boolean): PeerState[] {
    const ranked: { peer: PeerState; rank: number }[] = [];
    for (const peer of this.#list) {
      if (!mayAsk(peer)) continue;
      const slowness = Math.floor(peer.pace.lastMs / Math.max(1, usualMs));
      ranked.push({ peer, rank: slowness + this.#random() });
    }
    return ranked.sort((a, b) => a.rank - b.rank).map(({ peer }) => peer);
  }

  up(id: string, near: boolean, nowMs: number): void {
    if (this.#peers.has(id) || this.#peers.size >= PLANNER_PEERS_MAX) return;
    this.#peers.set(id, {
      id,
      near,
      pace: new PeerPace(),
      upMs: nowMs,
      have: newBits(this.#table.count),
      isKnown: false,
      complete: false,
      flights: 0,
      overdue: 0,
      failures: 0,
      pausedUntilMs: 0,
      idle: false,
      leaving: false,
      landedBefore: 0,
    });
    this.#recount();
  }

  down(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#table.updateHolder(peer.have, this.#table.nothing, peer.near);
    this.#peers.delete(id);
    this.#recount();
    this.wake();
  }

  availability(id: string, have: ChunkSet): void {
    const peer = this.#peers.get(id);
    if (peer === undefined || have.size !== this.#table.count) return;
    this.#reader.read(have);
    this.#table.updateHolder(peer.have, this.#reader.bits, peer.near);
    peer.isKnown = true;
    peer.complete = isFull(peer.have, this.#table.count);
    peer.idle = false;
  }

  /** It was found not to have a chunk although it said so. */
  lacks(peer: PeerState, index: number): void {
    this.#table.withdraw(peer.have, index, peer.near);
    peer.complete = false;
  }

  /** Some chunk may be asked for again: nobody is known to be idle any more. */
  wake(): void {
    for (const peer of this.#list) peer.idle = false;
  }

  /** Shorter pauses than for a failure, but they grow too. */
  busy(peer: PeerState, nowMs: number): void {
    const pause = pauseMs(peer.failures, BUSY_PAUSE_MAX_MS, this.#random) / 2;
    peer.failures += 1;
    peer.pausedUntilMs = Math.max(peer.pausedUntilMs, nowMs + pause);
  }

  failed(peer: PeerState, nowMs: number): void {
    const pause = pauseMs(peer.failures, SOURCE_PAUSE_MAX_MS, this.#random);
    peer.failures += 1;
    peer.pausedUntilMs = Math.max(peer.pausedUntilMs, nowMs + pause);
  }

  /** In working order now, whether or not all its places are taken. */
  isUsable(peer: PeerState, nowMs: number): boolean {
    return peer.isKnown && peer.overdue === 0 && nowMs >= peer.pausedUntilMs;
  }

  /**
   * Whether a peer in working order holds the chunk; `strict` leaves out any that failed of late.
   */
  isAvailable(index: number, nowMs: number, strict = false): boolean {
    if (this.#table.rarity(index) === 0) return false;
    for (const peer of this.#list) {
      if (strict && peer.failures > 0) continue;
      if (this.isUsable(peer, nowMs) && hasBit(peer.have, index)) return true;
    }
    return false;
  }

  /** What the peers in working order hold of which `counts` is true. */
  available(nowMs: number, counts: (peer: PeerState) => boolean): Uint32Array {
    const sum = newBits(this.#table.count);
    for (const peer of this.#list) {
      if (!counts(peer) || !this.isUsable(peer, nowMs)) continue;
      for (let at = 0; at < sum.length; at += 1) sum[at] = (sum[at] ?? 0) | (peer.have[at] ?? 0);
    }
    return sum;
  }

  /** Whether there is exactly one peer and it holds every chunk. */
  get soleComplete(): boolean {
    return this.#list.length === 1 && this.#list[0]?.complete === true;
  }

  #recount(): void {
    this.#list = [...this.#peers.values()];
    this.#far = this.#list.reduce((far, { near }) => far + Number(!near), 0);
  }
}
