import type { ChunkTable } from './chunk-table.ts';
import {
  BUSY_PAUSE_MAX_MS,
  PLANNER_PEERS_MAX,
  SOURCE_PAUSE_MAX_MS,
  SOURCE_PAUSE_MIN_MS,
} from './constants.ts';
import type { ChunkSet } from './planner-port.ts';

export type PeerState = {
  id: string;
  have: ChunkSet | undefined;
  complete: boolean;
  /** Chunks it was found not to have although it said so. */
  lacks: Set<number>;
  flights: number;
  overdue: number;
  failures: number;
  pausedUntilMs: number;
  /** Nothing to ask it for, until something changes. */
  idle: boolean;
};

/** Pause after the nth failure in a row, in milliseconds. */
export function pauseMs(failures: number, maxMs: number, random: () => number): number {
  const whole = Math.min(maxMs, SOURCE_PAUSE_MIN_MS * 2 ** Math.min(failures, 16));
  return whole / 2 + (random() * whole) / 2;
}

function holdsAll(have: ChunkSet): boolean {
  for (let index = 0; index < have.size; index += 1) {
    if (!have.has(index)) return false;
  }
  return true;
}

/** The peers of one download, as the planner sees them. */
export class PlannerPeers {
  readonly #peers = new Map<string, PeerState>();
  readonly #table: ChunkTable;
  readonly #random: () => number;

  constructor(table: ChunkTable, random: () => number) {
    this.#table = table;
    this.#random = random;
  }

  get size(): number {
    return this.#peers.size;
  }

  get(peerId: string): PeerState | undefined {
    return this.#peers.get(peerId);
  }

  all(): IterableIterator<PeerState> {
    return this.#peers.values();
  }

  up(id: string): void {
    if (this.#peers.has(id) || this.#peers.size >= PLANNER_PEERS_MAX) return;
    this.#peers.set(id, {
      id,
      have: undefined,
      complete: false,
      lacks: new Set(),
      flights: 0,
      overdue: 0,
      failures: 0,
      pausedUntilMs: 0,
      idle: false,
    });
  }

  down(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#table.replaceHolder(peer.have, undefined);
    this.#peers.delete(id);
    this.wake();
  }

  availability(id: string, have: ChunkSet): void {
    const peer = this.#peers.get(id);
    if (peer === undefined || have.size !== this.#table.count) return;
    this.#table.replaceHolder(peer.have, have);
    peer.have = have;
    peer.complete = holdsAll(have);
    peer.lacks.clear();
    peer.idle = false;
  }

  /** Some chunk may be asked for again: nobody is known to be idle any more. */
  wake(): void {
    for (const peer of this.#peers.values()) peer.idle = false;
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

  holds(peer: PeerState, index: number): boolean {
    return (peer.have?.has(index) ?? false) && !peer.lacks.has(index);
  }

  /** In working order now, whether or not all its places are taken. */
  isUsable(peer: PeerState, nowMs: number): boolean {
    return peer.have !== undefined && peer.overdue === 0 && nowMs >= peer.pausedUntilMs;
  }

  /**
   * Whether a peer in working order holds the chunk; `strict` leaves out any that failed of late.
   */
  isAvailable(index: number, nowMs: number, strict = false): boolean {
    if (this.#table.rarity(index) === 0) return false;
    for (const peer of this.#peers.values()) {
      if (strict && peer.failures > 0) continue;
      if (this.isUsable(peer, nowMs) && this.holds(peer, index)) return true;
    }
    return false;
  }

  /** Whether there is exactly one peer and it holds every chunk. */
  get soleComplete(): boolean {
    if (this.#peers.size !== 1) return false;
    const [only] = this.#peers.values();
    return only?.complete ?? false;
  }

  /** Those that failed least first, otherwise in an order that favours nobody. */
  shuffled(): PeerState[] {
    const peers = [...this.#peers.values()];
    for (let at = peers.length - 1; at > 0; at -= 1) {
      const other = Math.floor(this.#random() * (at + 1));
      const held = peers[at];
      const swap = peers[other];
      if (held === undefined || swap === undefined) continue;
      peers[at] = swap;
      peers[other] = held;
    }
    return peers.sort((a, b) => a.failures - b.failures);
  }
}
