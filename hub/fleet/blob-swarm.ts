import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import {
  BYPASS_CHUNKS_MIN,
  BYPASS_PART,
  BYPASS_WINDOW_MS,
  LEASES_AHEAD,
  LEASES_PER_MEMBER_MAX,
  LEASES_PER_MEMBER_MIN,
  LEASE_MS,
  LEASE_QUICK_MS,
  LEASE_SLOW_MS,
  PEER_SAMPLE_MAX,
} from './constants.ts';
import { FreeChunks } from './free-chunks.ts';
import { LeaseAllowance } from './lease-allowance.ts';
import type { LeasePace } from './lease-pace.ts';
import { MissedChunks } from './missed-chunks.ts';
import { SwarmZone } from './swarm-zone.ts';

const LEASES_PER_MEMBER = {
  min: LEASES_PER_MEMBER_MIN,
  max: LEASES_PER_MEMBER_MAX,
  quickMs: LEASE_QUICK_MS,
  slowMs: LEASE_SLOW_MS,
};

type Lease = { grantedMs: number; endMs: number };

/** What one member does with one blob. */
type Participant = {
  readonly zone: SwarmZone;
  have: ChunkBitmap;
  complete: boolean;
  readonly leases: Map<number, Lease>;
  readonly allowance: LeaseAllowance;
  /** Place in the list of its zone. */
  place: number;
  /** How often others were told of it. */
  named: number;
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
  readonly #pace: LeasePace;
  readonly #missed: MissedChunks;
  readonly #id: number;
  readonly #participants = new Map<string, Participant>();
  readonly #holders: Uint32Array;
  readonly #lessees = new Map<number, string>();
  readonly #free: FreeChunks;
  /** What a member without or with all chunks counts as: it holds no single chunk. */
  readonly #none: ChunkBitmap;
  readonly #zones = new Map<string, SwarmZone>();
  #completeCount = 0;
  /** Chunks taken beside leases since the window began. */
  #bypass = { sinceMs: Number.NEGATIVE_INFINITY, chunks: 0 };
  #nextExpiryMs = Number.POSITIVE_INFINITY;

  /** `pace` and `missed` are common to all blobs of a tracker. */
  constructor(layout: ChunkLayout, pace: LeasePace, missed = new MissedChunks()) {
    this.layout = layout;
    this.#pace = pace;
    this.#missed = missed;
    this.#id = missed.blob();
    this.#holders = new Uint32Array(layout.chunkCount);
    this.#free = new FreeChunks(layout.chunkCount);
    this.#none = new ChunkBitmap(layout.chunkCount);
  }

  /** Bytes of the tables that grow with the blob. */
  static tableBytes(layout: ChunkLayout): number {
    return layout.chunkCount * 4 + Math.ceil(layout.chunkCount / 8);
  }

  /** Bytes of its tables, those of its zones included. */
  get bytes(): number {
    const { layout } = this;
    return BlobSwarm.tableBytes(layout) + this.#zones.size * SwarmZone.tableBytes(layout);
  }

  /** Whether some member is of that zone, or was. */
  hasZone(name: string): boolean {
    return this.#zones.has(name);
  }

  /** Members that hold or fetch the blob. */
  get size(): number {
    return this.#participants.size;
  }

  /** Members that hold all of it. */
  get completeCount(): number {
    return this.#completeCount;
  }

  has(peerId: string): boolean {
    return this.#participants.has(peerId);
  }

  isComplete(peerId: string): boolean {
    return this.#participants.get(peerId)?.complete === true;
  }

  /** Leases that a member has. */
  leasesOf(peerId: string): number {
    return this.#participants.get(peerId)?.leases.size ?? 0;
  }

  /** Members of the zone of a member, at random; `random` gives numbers in [0, 1). */
  sampleNear(peerId: string, random: () => number): string[] {
    return draw(this.#participants.get(peerId)?.zone.members ?? [], PEER_SAMPLE_MAX, random);
  }

  /** Members of other zones, about as many of each. */
  sampleFar(peerId: string, random: () => number): string[] {
    const own = this.#participants.get(peerId)?.zone;
    const others = [...this.#zones.values()].filter((zone) => zone !== own);
    const share = Math.ceil(PEER_SAMPLE_MAX / Math.max(1, others.length));
    return others.flatMap(({ members }) => draw(members, share, random));
  }

  /** Whether the member fetches from other zones for its own; room is taken by the first. */
  isFeeder(peerId: string): boolean {
    return this.#participants.get(peerId)?.zone.isFeeder(peerId) ?? false;
  }

  timesNamed(peerId: string): number {
    return this.#participants.get(peerId)?.named ?? 0;
  }

  /** Another member was told of it. */
  named(peerId: string): void {
    const participant = this.#participants.get(peerId);
    if (participant !== undefined) participant.named++;
  }

  /** Lets a member in that holds nothing yet. */
  join(peerId: string, zoneName = ''): void {
    if (this.#participants.has(peerId)) return;
    const zone = this.#zones.get(zoneName) ?? new SwarmZone(this.layout);
    this.#zones.set(zoneName, zone);
    const place = zone.join(peerId);
    this.#participants.set(peerId, {
      zone,
      have: this.#none,
      complete: false,
      leases: new Map(),
      allowance: new LeaseAllowance(LEASES_PER_MEMBER),
      place,
      named: 0,
    });
  }

  /** Takes in what a member says it holds. Its leases live on when it made progress. */
  report(peerId: string, report: SwarmReport): void {
    this.join(peerId);
    const known = this.#participants.get(peerId);
    if (known === undefined) return;
    // The empty bitmap of a blob without chunks says nothing.
    const complete = report.have === undefined || (report.have.size > 0 && report.have.complete);
    const have = complete ? this.#none : (report.have ?? this.#none);
    const progress = complete || have.count > known.have.count;
    this.#completeCount += Number(complete) - Number(known.complete);
    known.zone.completeCount += Number(complete) - Number(known.complete);
    this.#recount(known, have, report.nowMs);
    if (complete) known.zone.gainedAll(report.nowMs);
    known.have = have;
    known.complete = complete;
    for (const [index, lease] of known.leases) {
      if (complete || have.has(index)) this.#redeem(known, index, report.nowMs - lease.grantedMs);
      else if (progress) lease.endMs = report.nowMs + LEASE_MS;
    }
  }

  /**
   * Leases up to `wanted` free chunks to a member that reported before: the first ones, so that the
   * swarm fills the blob in about the order in which it is read, and readers need not stand still
   * until the last chunks leave the hub. `ready`: how many chunks the hub has of a blob that it
   * still fetches; of the others nobody gets more than his share, since all are as early.
   */
  lease(
    peerId: string,
    wanted: number,
    clock: { nowMs: number; ready?: number | undefined },
  ): number[] {
    const participant = this.#participants.get(peerId);
    // Not earlier: news that arrive just after the end of a lease still save it.
    this.expire(clock.nowMs);
    if (participant === undefined || participant.complete || this.#completeCount > 0) return [];
    const active = this.#participants.size - this.#completeCount;
    const share = Math.max(Math.ceil(this.#free.size / (2 * active)), LEASES_PER_MEMBER_MIN);
    const room = Math.max(0, participant.allowance.most - participant.leases.size);
    const out = this.#pace.roomFor(this.#lessees.size);
    const count = Math.min(wanted, share, room, out, this.#free.size);
    const leased: number[] = [];
    const { ready = Number.POSITIVE_INFINITY } = clock;
    let ahead = Math.max(LEASES_PER_MEMBER_MIN, Math.ceil(LEASES_AHEAD / active));
    for (const index of participant.leases.keys()) if (index >= ready) ahead -= 1;
    while (leased.length < count) {
      if (this.#free.first >= ready && ahead <= 0) break;
      const index = this.#free.take();
      if (index >= ready) ahead -= 1;
      this.#lessees.set(index, peerId);
      this.#pace.granted(this.#lessees.size);
      participant.leases.set(index, { grantedMs: clock.nowMs, endMs: clock.nowMs + LEASE_MS });
      leased.push(index);
    }
    if (leased.length > 0) {
      this.#nextExpiryMs = Math.min(this.#nextExpiryMs, clock.nowMs + LEASE_MS);
    }
    return leased;
  }

  /**
   * Which of these chunks, in the order of wishes, a member may fetch from other zones: none that
   * its own has, unless it goes on asking, nor that another member of it fetches already. undefined
   * for a stranger.
   */
  cross(peerId: string, wanted: readonly number[], nowMs: number): number[] | undefined {
    const participant = this.#participants.get(peerId);
    if (participant === undefined) return undefined;
    const { zone } = participant;
    return zone.cross(peerId, wanted, {
      nowMs,
      isSought: (index) => {
        if (!this.#isHeld(index)) return false;
        return !zone.has(index) || this.#missed.asked(`${this.#id} ${index} ${peerId}`, nowMs);
      },
    });
  }

  /** Chunks that a member fetches from other zones. */
  crossingsOf(peerId: string): number {
    return this.#participants.get(peerId)?.zone.crossingsOf(peerId) ?? 0;
  }

  /** How many chunks may be taken beside the leases now. */
  bypassRoom(nowMs: number): number {
    if (nowMs - this.#bypass.sinceMs >= BYPASS_WINDOW_MS) {
      this.#bypass = { sinceMs: nowMs, chunks: 0 };
    }
    const most = Math.max(BYPASS_CHUNKS_MIN, Math.floor(this.layout.chunkCount * BYPASS_PART));
    return Math.max(0, most - this.#bypass.chunks);
  }

  bypassed(chunks: number): void {
    this.#bypass.chunks += chunks;
  }

  /** Forgets a member: its leases and what only it held are free again. */
  remove(peerId: string): void {
    const participant = this.#participants.get(peerId);
    if (participant === undefined) return;
    this.#participants.delete(peerId);
    for (const index of participant.leases.keys()) this.#endLease(participant, index);
    this.#completeCount -= Number(participant.complete);
    this.#recount(participant, this.#none, 0);
    const { zone, place } = participant;
    zone.completeCount -= Number(participant.complete);
    const moved = this.#participants.get(zone.leave(peerId, place) ?? '');
    if (moved !== undefined) moved.place = place;
  }

  /** Ends the leases whose time is over. */
  expire(nowMs: number): void {
    if (nowMs < this.#nextExpiryMs) return;
    this.#nextExpiryMs = Number.POSITIVE_INFINITY;
    for (const [index, peerId] of this.#lessees) {
      const participant = this.#participants.get(peerId);
      const endMs = participant?.leases.get(index)?.endMs ?? 0;
      if (endMs <= nowMs && participant !== undefined) {
        this.#endLease(participant, index);
        participant.allowance.expired();
        this.#pace.expired();
      } else this.#nextExpiryMs = Math.min(this.#nextExpiryMs, endMs);
    }
  }

  /** Time until the next lease may end; infinite without leases. */
  expiresInMs(nowMs: number): number {
    return this.#lessees.size === 0 ? Number.POSITIVE_INFINITY : this.#nextExpiryMs - nowMs;
  }

  get freeCount(): number {
    return this.#completeCount > 0 ? 0 : this.#free.size;
  }

  #redeem(participant: Participant, index: number, tookMs: number): void {
    this.#endLease(participant, index);
    participant.allowance.redeemed(tookMs);
    this.#pace.redeemed(tookMs);
  }

  #endLease(participant: Participant, index: number): void {
    participant.leases.delete(index);
    if (this.#lessees.delete(index)) this.#pace.ended(this.#lessees.size);
    this.#settle(index);
  }

  /** Whether any member holds it. */
  #isHeld(index: number): boolean {
    if (index >= this.layout.chunkCount) return false;
    return this.#completeCount > 0 || (this.#holders[index] ?? 0) > 0;
  }

  /** Brings the number of holders of each chunk from one state of a member to its next. */
  #recount({ have, zone }: Participant, after: ChunkBitmap, nowMs: number): void {
    for (const index of have.differing(after)) {
      const isGained = after.has(index);
      this.#holders[index] = (this.#holders[index] ?? 0) + (isGained ? 1 : -1);
      this.#settle(index);
      if (isGained) zone.gained(index, nowMs);
      else zone.lost(index);
    }
  }

  #settle(index: number): void {
    const taken = (this.#holders[index] ?? 0) > 0 || this.#lessees.has(index);
    if (taken) this.#free.remove(index);
    else this.#free.add(index);
  }
}

/** Up to `count` of the members, each equally likely; Floyd's way: `count` steps however many. */
function draw(members: readonly string[], count: number, random: () => number): string[] {
  if (members.length <= count) return [...members];
  const drawn = new Set<string>();
  for (let i = members.length - count; i < members.length; i++) {
    const any = members[Math.floor(random() * (i + 1))] ?? '';
    drawn.add(drawn.has(any) ? (members[i] ?? '') : any);
  }
  return [...drawn];
}
