import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { LEASE_BATCH_MAX, LEASE_BATCH_MIN, LEASE_MS } from './constants.ts';
import { FreeChunks } from './free-chunks.ts';

/** What one member does with one blob. */
type Participant = {
  have: ChunkBitmap;
  complete: boolean;
  /** Leased chunk -> end of the lease in ms. */
  leases: Map<number, number>;
  /** Place in the list that random peers are drawn from. */
  place: number;
};

export type SwarmReport = {
  /** undefined: holds all. */
  have: ChunkBitmap | undefined;
  nowMs: number;
};

/**
 * Who holds and who fetches one blob, and which chunks the hub has yet to give away. Without I/O
 * or clock. A chunk is free while no participant holds it and none has it on lease.
 */
export class BlobSwarm {
  readonly layout: ChunkLayout;
  readonly #participants = new Map<string, Participant>();
  readonly #holders: Uint32Array;
  readonly #lessees = new Map<number, string>();
  readonly #free: FreeChunks;
  /** What a member without or with all chunks counts as: it holds no single chunk. */
  readonly #none: ChunkBitmap;
  readonly #order: string[] = [];
  #completeCount = 0;
  #nextExpiryMs = Number.POSITIVE_INFINITY;

  constructor(layout: ChunkLayout) {
    this.layout = layout;
    this.#holders = new Uint32Array(layout.chunkCount);
    this.#free = new FreeChunks(layout.chunkCount);
    this.#none = new ChunkBitmap(layout.chunkCount);
  }

  /** Bytes of the tables that grow with the blob. */
  static tableBytes(layout: ChunkLayout): number {
    return layout.chunkCount * 12;
  }

  /** Members that hold or fetch the blob. */
  get size(): number {
    return this.#participants.size;
  }

  /** Members that hold all of it. */
  get completeCount(): number {
    return this.#completeCount;
  }

  get leaseCount(): number {
    return this.#lessees.size;
  }

  has(peerId: string): boolean {
    return this.#participants.has(peerId);
  }

  isComplete(peerId: string): boolean {
    return this.#participants.get(peerId)?.complete === true;
  }

  /** Up to `count` members, each equally likely. `random` gives numbers in [0, 1). */
  sample(count: number, random: () => number): string[] {
    if (this.#order.length <= count) return [...this.#order];
    const drawn = new Set<string>();
    // Floyd's way of drawing: `count` steps, whatever the number of members.
    for (let i = this.#order.length - count; i < this.#order.length; i++) {
      const any = this.#order[Math.floor(random() * (i + 1))] ?? '';
      drawn.add(drawn.has(any) ? (this.#order[i] ?? '') : any);
    }
    return [...drawn];
  }

  /** Lets a member in that holds nothing yet. */
  join(peerId: string): void {
    if (this.#participants.has(peerId)) return;
    const place = this.#order.push(peerId) - 1;
    const leases = new Map<number, number>();
    this.#participants.set(peerId, { have: this.#none, complete: false, leases, place });
  }

  /** Takes in what a member says it holds. Its leases live on when it made progress. */
  report(peerId: string, report: SwarmReport): void {
    this.join(peerId);
    const known = this.#participants.get(peerId);
    if (known === undefined) return;
    // The empty bitmap of a blob without chunks says nothing.
    const complete = report.have === undefined || (report.have.size > 0 && report.have.complete);
    const next: Participant = {
      have: complete ? this.#none : (report.have ?? this.#none),
      complete,
      leases: known.leases,
      place: known.place,
    };
    const progress = next.complete || next.have.count > known.have.count;
    this.#completeCount += Number(next.complete) - Number(known.complete);
    this.#recount(known.have, next.have);
    this.#participants.set(peerId, next);
    for (const index of next.leases.keys()) {
      if (next.complete || next.have.has(index)) this.#endLease(next, index);
      else if (progress) next.leases.set(index, report.nowMs + LEASE_MS);
    }
  }

  /**
   * Leases up to `wanted` free chunks to a member that reported before, at random.
   * `random` gives numbers in [0, 1).
   */
  lease(peerId: string, wanted: number, clock: { nowMs: number; random: () => number }): number[] {
    const participant = this.#participants.get(peerId);
    // Not earlier: news that arrive just after the end of a lease still save it.
    this.expire(clock.nowMs);
    if (participant === undefined || participant.complete || this.#completeCount > 0) return [];
    const active = this.#participants.size - this.#completeCount;
    const share = Math.ceil(this.#free.size / (2 * active));
    const batch = Math.min(Math.max(share, LEASE_BATCH_MIN), LEASE_BATCH_MAX);
    const room = LEASE_BATCH_MAX - participant.leases.size;
    const count = Math.min(wanted, batch, room, this.#free.size);
    const leased: number[] = [];
    while (leased.length < count) {
      const index = this.#free.take(clock.random());
      this.#lessees.set(index, peerId);
      participant.leases.set(index, clock.nowMs + LEASE_MS);
      leased.push(index);
    }
    if (leased.length > 0) {
      this.#nextExpiryMs = Math.min(this.#nextExpiryMs, clock.nowMs + LEASE_MS);
    }
    return leased;
  }

  /** Forgets a member: its leases and what only it held are free again. */
  remove(peerId: string): void {
    const participant = this.#participants.get(peerId);
    if (participant === undefined) return;
    this.#participants.delete(peerId);
    for (const index of participant.leases.keys()) this.#endLease(participant, index);
    this.#completeCount -= Number(participant.complete);
    this.#recount(participant.have, this.#none);
    const last = this.#order.pop();
    const moved = last === undefined ? undefined : this.#participants.get(last);
    if (last === undefined || moved === undefined) return;
    this.#order[participant.place] = last;
    moved.place = participant.place;
  }

  /** Ends the leases whose time is over. */
  expire(nowMs: number): void {
    if (nowMs < this.#nextExpiryMs) return;
    this.#nextExpiryMs = Number.POSITIVE_INFINITY;
    for (const [index, peerId] of this.#lessees) {
      const participant = this.#participants.get(peerId);
      const endMs = participant?.leases.get(index) ?? 0;
      if (endMs <= nowMs && participant !== undefined) this.#endLease(participant, index);
      else this.#nextExpiryMs = Math.min(this.#nextExpiryMs, endMs);
    }
  }

  /** Time until the next lease may end; infinite without leases. */
  expiresInMs(nowMs: number): number {
    return this.#lessees.size === 0 ? Number.POSITIVE_INFINITY : this.#nextExpiryMs - nowMs;
  }

  get freeCount(): number {
    return this.#completeCount > 0 ? 0 : this.#free.size;
  }

  #endLease(participant: Participant, index: number): void {
    participant.leases.delete(index);
    this.#lessees.delete(index);
    this.#settle(index);
  }

  /** Brings the number of holders of each chunk from one state of a member to its next. */
  #recount(before: ChunkBitmap, after: ChunkBitmap): void {
    for (const index of before.differing(after)) {
      this.#holders[index] = (this.#holders[index] ?? 0) + (after.has(index) ? 1 : -1);
      this.#settle(index);
    }
  }

  #settle(index: number): void {
    const taken = (this.#holders[index] ?? 0) > 0 || this.#lessees.has(index);
    if (taken) this.#free.remove(index);
    else this.#free.add(index);
  }
}
