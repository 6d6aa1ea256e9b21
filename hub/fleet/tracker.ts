import { layoutOf, type ChunkLayout } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { BlobSwarm } from './blob-swarm.ts';
import {
  ANNOUNCE_ACTIVE_MS,
  ANNOUNCE_IDLE_MS,
  ANNOUNCES_PER_SECOND,
  LEASE_RETRY_MS,
  OWN_ZONE_PEERS_MIN,
  SOURCE_BYTES_PER_SECOND,
  STAND_IN_CHUNKS,
  TRACKER_BITMAP_MAX_BYTES,
  TRACKER_BYTES_PER_MEMBER_MAX,
  TRACKER_DIGESTS_MAX,
  TRACKER_DIGESTS_PER_MEMBER_MAX,
  TRACKER_LATE_MS,
  TRACKER_PAIRS_MAX,
  TRACKER_SWEEP_MS,
  TRACKER_TTL_MS,
} from './constants.ts';
import { LeasePace } from './lease-pace.ts';
import { MissedChunks } from './missed-chunks.ts';
import { choosePeers } from './peer-choice.ts';
import { SourceBudget } from './source-budget.ts';
import { SwarmZone } from './swarm-zone.ts';

/** One blob in an announcement, checked: `size` is what the catalog says if it knows the blob. */
export type AnnouncedBlob = {
  digest: Digest;
  size: number;
  /** undefined: the member holds all of it. Counts the chunks of the layout of `size`. */
  have: ChunkBitmap | undefined;
  /** 0 also when the hub cannot give the blob. */
  hubChunksWanted: number;
  /** Chunks the member would take from its source without a lease. */
  bypassWanted: number;
  /** Chunks the member would fetch from other zones, in the order of its wishes. */
  crossingsWanted: readonly number[];
  /**
   * Whether it is a blob of the hub, which leases chunks of it. Of what is from elsewhere the hub
   * does not know who may read it.
   */
  leasable: boolean;
  /** Where it is at the hub, if there is anything to be leased of it. */
  repository?: string | undefined;
  /**
   * Chunks that the hub has of a blob that it still fetches; undefined: it has them all, or another
   * hub fetches it.
   */
  ready?: number | undefined;
};

export type Announcement = {
  peerId: string;
  zone: string;
  /** The list is all the member has. */
  full: boolean;
  blobs: readonly AnnouncedBlob[];
};

export type BlobAnswer = {
  digest: Digest;
  /** Peer ids of members that hold or fetch the blob. */
  peers: string[];
  /** Chunks the member is to take from the hub. */
  hubChunks: number[];
  /** How many chunks of its own choice the member may take from its source. */
  bypassChunks: number;
  /**
   * Those of the chunks it would fetch from other zones that it may fetch now; left out: nobody
   * here knows who fetches what.
   */
  crossings?: number[];
  retryAfterMs: number;
};

export type TrackerAnswer = { intervalMs: number; blobs: BlobAnswer[] };

/** With the certificates of members that others than this hub know, by peer id. */
export type DeskAnswer = TrackerAnswer & { certificates?: ReadonlyMap<string, string> };

/** Who answers announcements: the tracker of this hub, or those of all hubs on its catalog. */
export interface TrackerDesk {
  announce(announcement: Announcement, nowMs: number): DeskAnswer | Promise<DeskAnswer>;
}

export type TrackerLimits = {
  digestsMax: number;
  pairsMax: number;
  bitmapMaxBytes: number;
  digestsPerMemberMax: number;
  bytesPerMemberMax: number;
};

type MemberState = {
  zone: string;
  seenMs: number;
  /** What it is in, and the bytes that it caused there. */
  swarms: Map<SwarmKey, number>;
  /** Sum of those bytes. */
  bytes: number;
  downloading: boolean;
  /** When its next announcement is to come. */
  dueMs: number;
};

/**
 * Digest and size, and whose. Who says that he has a blob from elsewhere has shown no right to the
 * hub's, and is not told who has that. Of content that the hub does not have nobody knows the size
 * but the members, and one that lies must not keep the others apart.
 */
type SwarmKey = `${'hub' | 'other'} ${Digest} ${number}`;

function keyOf({ digest, size, leasable }: AnnouncedBlob): SwarmKey {
  return `${leasable ? 'hub' : 'other'} ${digest} ${size}`;
}

const LIMITS: TrackerLimits = {
  digestsMax: TRACKER_DIGESTS_MAX,
  pairsMax: TRACKER_PAIRS_MAX,
  bitmapMaxBytes: TRACKER_BITMAP_MAX_BYTES,
  digestsPerMemberMax: TRACKER_DIGESTS_PER_MEMBER_MAX,
  bytesPerMemberMax: TRACKER_BYTES_PER_MEMBER_MAX,
};

function bitmapBytes(layout: ChunkLayout): number {
  return Math.ceil(layout.chunkCount / 8);
}

/**
 * Who has what, as the members tell it, and who takes which chunk from the hub. A state machine
 * without I/O: announcements in, answers out; the time is an argument. Everything in it is soft.
 */
export class Tracker {
  readonly #random: () => number;
  readonly #limits: TrackerLimits;
  readonly #pace = new LeasePace();
  readonly #missed = new MissedChunks();
  readonly #sourceBytesPerSecond: number;
  readonly #sourceBudget: SourceBudget;
  readonly #members = new Map<string, MemberState>();
  readonly #swarms = new Map<SwarmKey, BlobSwarm>();
  #sweptMs = Number.NEGATIVE_INFINITY;
  #pairs = 0;
  #bytes = 0;

  constructor(
    options: {
      random?: () => number;
      limits?: Partial<TrackerLimits>;
      /** What agents may take from hub and upstreams beside leases; default SOURCE_RATE. */
      sourceBytesPerSecond?: number;
    } = {},
  ) {
    this.#random = options.random ?? Math.random;
    const bytesPerSecond = options.sourceBytesPerSecond ?? SOURCE_BYTES_PER_SECOND;
    this.#sourceBytesPerSecond = bytesPerSecond;
    this.#sourceBudget = new SourceBudget({ bytesPerSecond });
    this.#limits = { ...LIMITS, ...options.limits };
  }

  /** Numbers for metrics; `bytes` are those of bitmaps and chunk tables. */
  get stats(): { members: number; digests: number; pairs: number; leases: number; bytes: number } {
    return {
      members: this.#members.size,
      digests: this.#swarms.size,
      pairs: this.#pairs,
      leases: this.#pace.out,
      bytes: this.#bytes,
    };
  }

  /** Takes an announcement in and answers it. `nowMs` may be any clock that does not run back. */
  announce(announcement: Announcement, nowMs: number): TrackerAnswer {
    const { peerId, zone, full, blobs } = announcement;
    const member = this.#members.get(peerId) ?? {
      zone,
      seenMs: nowMs,
      swarms: new Map<SwarmKey, number>(),
      bytes: 0,
      downloading: false,
      dueMs: nowMs,
    };
    member.zone = zone;
    member.seenMs = nowMs;
    if (full || blobs.length > 0) member.downloading = blobs.some(({ have }) => have !== undefined);
    this.#members.set(peerId, member);
    if (full) this.#forgetAllBut(peerId, member, blobs);
    const answers = blobs.map((blob) => this.#answer(peerId, member, blob, nowMs));
    const retryMs = Math.min(ANNOUNCE_IDLE_MS, ...answers.map(({ retryAfterMs }) => retryAfterMs));
    // Of what it has and does not fetch a member tells in full announcements only.
    member.dueMs = nowMs + (full ? ANNOUNCE_IDLE_MS : Math.max(ANNOUNCE_ACTIVE_MS, retryMs));
    return { blobs: answers, intervalMs: this.#intervalMs(member) };
  }

  /**
   * How many chunks a member may take without a lease of a blob that only others know of, and who
   * cannot be asked.
   */
  standIn(blob: AnnouncedBlob, nowMs: number): number {
    const { chunkCount, chunkBytes } = layoutOf(blob.size);
    if (chunkCount === 0) return 0;
    const wanted = Math.min(blob.bypassWanted, blob.leasable ? STAND_IN_CHUNKS : chunkCount);
    return this.#sourceBudget.take(wanted, chunkBytes, nowMs);
  }

  /** How many trackers there are, which share what may be taken beside leases. */
  set trackers(count: number) {
    this.#sourceBudget.bytesPerSecond = this.#sourceBytesPerSecond / Math.max(1, count);
  }

  /** Forgets a member: it left, or it was revoked. */
  forget(peerId: string): void {
    const member = this.#members.get(peerId);
    if (member === undefined) return;
    for (const key of member.swarms.keys()) this.#leave(peerId, member, key);
    this.#members.delete(peerId);
  }

  /**
   * Forgets the members that were silent for TRACKER_TTL_MS, and the downloads of those that are
   * late by TRACKER_LATE_MS; call it every TRACKER_SWEEP_MS.
   */
  sweep(nowMs: number): void {
    // After a pause of this process everybody seems to be late.
    const isAwake = nowMs - this.#sweptMs < 2 * TRACKER_SWEEP_MS;
    this.#sweptMs = nowMs;
    for (const [peerId, member] of this.#members) {
      if (nowMs - member.seenMs >= TRACKER_TTL_MS) this.forget(peerId);
      else if (isAwake && nowMs - member.dueMs >= TRACKER_LATE_MS) this.#giveUp(peerId, member);
    }
    for (const swarm of this.#swarms.values()) swarm.expire(nowMs);
  }

  /** The member is late: what it has begun to fetch does not count on it any more. */
  #giveUp(peerId: string, member: MemberState): void {
    for (const key of member.swarms.keys()) {
      if (this.#swarms.get(key)?.isComplete(peerId) === false) this.#leave(peerId, member, key);
    }
  }

  #answer(peerId: string, member: MemberState, blob: AnnouncedBlob, nowMs: number): BlobAnswer {
    const swarm = this.#join(peerId, member, blob);
    const { digest, hubChunksWanted: wanted, ready } = blob;
    // Who is not let in gets peers, but no lease: nobody would know when to end it.
    if (swarm?.has(peerId)) swarm.report(peerId, { have: blob.have, nowMs });
    const hubChunks = swarm?.lease(peerId, wanted, { nowMs, ready }) ?? [];
    const crossings = swarm?.cross(peerId, blob.crossingsWanted, nowMs);
    const needsPeers = swarm !== undefined && !swarm.isComplete(peerId);
    const peers = needsPeers ? choosePeers(swarm, peerId, this.#random) : [];
    return {
      digest,
      peers,
      hubChunks,
      ...(crossings === undefined ? {} : { crossings }),
      bypassChunks: swarm === undefined ? 0 : this.#bypass(swarm, blob, nowMs),
      retryAfterMs: this.#retryMs(swarm, blob, {
        nowMs,
        leases: (swarm?.leasesOf(peerId) ?? 0) + (swarm?.crossingsOf(peerId) ?? 0),
        lonely: needsPeers && peers.length < OWN_ZONE_PEERS_MIN,
        crowdedMs: this.#intervalMs(member),
      }),
    };
  }

  /** Out of the budget of the fleet, and of a leased blob only a part of it. */
  #bypass(swarm: BlobSwarm, blob: AnnouncedBlob, nowMs: number): number {
    if (blob.bypassWanted === 0 || swarm.layout.chunkCount === 0) return 0;
    const room = blob.leasable ? swarm.bypassRoom(nowMs) : blob.bypassWanted;
    const wanted = Math.min(blob.bypassWanted, room);
    const count = this.#sourceBudget.take(wanted, swarm.layout.chunkBytes, nowMs);
    swarm.bypassed(count);
    return count;
  }

  /**
   * Who holds leases tells soon how they went, who was told of few peers asks soon for more; the
   * others ask as often as the hub can take it.
   */
  #retryMs(
    swarm: BlobSwarm | undefined,
    blob: AnnouncedBlob,
    state: { nowMs: number; leases: number; lonely: boolean; crowdedMs: number },
  ): number {
    const { nowMs, leases, lonely, crowdedMs } = state;
    if (blob.have === undefined) return ANNOUNCE_IDLE_MS;
    const fewMs = Math.max(LEASE_RETRY_MS, crowdedMs / 4);
    if (swarm === undefined) return crowdedMs;
    if (leases > 0) return LEASE_RETRY_MS;
    if (lonely) return fewMs;
    if (blob.hubChunksWanted === 0) return crowdedMs;
    if (swarm.freeCount > 0) return crowdedMs > ANNOUNCE_ACTIVE_MS ? crowdedMs : fewMs;
    return Math.min(Math.max(swarm.expiresInMs(nowMs), fewMs), crowdedMs);
  }

  /** The swarm of the blob with the member in it; as it is when there is no room for one more. */
  #join(peerId: string, member: MemberState, blob: AnnouncedBlob): BlobSwarm | undefined {
    const key = keyOf(blob);
    const known = this.#swarms.get(key);
    if (known?.has(peerId)) return known;
    const layout = known?.layout ?? layoutOf(blob.size);
    const limits = this.#limits;
    const zoneBytes = known?.hasZone(member.zone) === true ? 0 : SwarmZone.tableBytes(layout);
    const tableBytes = known === undefined ? BlobSwarm.tableBytes(layout) : 0;
    const bytes = bitmapBytes(layout) + zoneBytes + tableBytes;
    const full =
      this.#pairs >= limits.pairsMax ||
      member.swarms.size >= limits.digestsPerMemberMax ||
      member.bytes + bytes > limits.bytesPerMemberMax ||
      this.#bytes + bytes > limits.bitmapMaxBytes ||
      (known === undefined && this.#swarms.size >= limits.digestsMax);
    if (full) return known;
    const swarm = known ?? new BlobSwarm(layout, this.#pace, this.#missed);
    this.#swarms.set(key, swarm);
    member.swarms.set(key, bytes);
    member.bytes += bytes;
    this.#pairs++;
    this.#bytes += bytes;
    swarm.join(peerId, member.zone);
    return swarm;
  }

  #leave(peerId: string, member: MemberState, key: SwarmKey): void {
    const swarm = this.#swarms.get(key);
    member.bytes -= member.swarms.get(key) ?? 0;
    member.swarms.delete(key);
    if (swarm === undefined) return;
    swarm.remove(peerId);
    this.#pairs--;
    this.#bytes -= bitmapBytes(swarm.layout);
    if (swarm.size > 0) return;
    this.#swarms.delete(key);
    this.#bytes -= swarm.bytes;
  }

  #forgetAllBut(peerId: string, member: MemberState, blobs: readonly AnnouncedBlob[]): void {
    const kept = new Set(blobs.map(keyOf));
    for (const key of member.swarms.keys()) {
      if (!kept.has(key)) this.#leave(peerId, member, key);
    }
  }

  #intervalMs(member: MemberState): number {
    if (!member.downloading) return ANNOUNCE_IDLE_MS;
    const crowdedMs = (this.#members.size / ANNOUNCES_PER_SECOND) * 1000;
    return Math.min(Math.max(crowdedMs, ANNOUNCE_ACTIVE_MS), ANNOUNCE_IDLE_MS);
  }
}
