/** Chunks somebody holds, read before the call returns. */
export type ChunkSet = {
  readonly size: number;
  has(index: number): boolean;
  /** The same at once: chunk i is bit i % 8 of byte i / 8, least significant first. */
  copyBits?(into: Uint8Array): void;
};

/** Where a reader of the blob stands. */
export type ReaderState = {
  /** Chunk that holds the next byte the reader needs. */
  chunk: number;
  /** Since when it waits for that chunk; undefined while bytes flow. */
  waitingSinceMs: number | undefined;
  /** Steady consumption; 0 when unknown or not steady yet. */
  chunksPerSecond: number;
};

/** Why a request for a chunk came to nothing. */
export type ChunkFailure = 'busy' | 'not-found' | 'failed' | 'mismatch';

/** What happened, told by the shell around the planner. */
export type PlannerEvent =
  /** `near`: it is of our own zone, or zones mean nothing here. */
  | { type: 'peerUp'; peerId: string; near?: boolean }
  | { type: 'peerDown'; peerId: string }
  | { type: 'availability'; peerId: string; have: ChunkSet }
  /** From now on its time counts: it left the memory queue, and the chunk could be checked. */
  | { type: 'started'; ticket: number }
  /** The chunk is verified and stored, whoever brought it. */
  | { type: 'chunkDone'; index: number; ticket?: number | undefined }
  | { type: 'chunkFailed'; ticket: number; reason: ChunkFailure }
  /** A chunk that was had, or held back (being checked on disk), turned out to be lost. */
  | { type: 'released'; index: number }
  /** Nothing can be checked against its hash now: neither held nor asked for until released. */
  | { type: 'held'; index: number }
  /**
   * The tracker answered: our leases, how many other agents it knows for this blob, how many
   * chunks may be taken without a lease (undefined: it keeps no budget), and those we may fetch
   * from other zones (undefined: it does not know who fetches what).
   */
  | {
      type: 'hubLease';
      indices: readonly number[];
      peersKnown: number;
      bypass?: number | undefined;
      crossings?: readonly number[] | undefined;
    }
  | { type: 'hubDown' }
  | { type: 'readers'; readers: readonly ReaderState[] }
  | { type: 'tick' };

/**
 * What the shell is to do. A ticket names one request; it ends by chunkDone, chunkFailed or
 * cancel.
 */
export type PlannerCommand =
  | { type: 'fetchFromPeer'; ticket: number; peerId: string; index: number }
  | { type: 'fetchFromHub'; ticket: number; index: number; leased: boolean }
  /** How many leases, and chunks to take without one, we could use from now on. */
  | { type: 'askHubLease'; wanted: number; bypass: number }
  /** The peer is of least use: end the link, and take another one instead. */
  | { type: 'letGo'; peerId: string }
  | { type: 'cancel'; ticket: number };

/** Decides which chunk to ask of whom. No I/O, no clock, no hidden randomness. */
export interface Planner {
  handle(event: PlannerEvent, nowMs: number): PlannerCommand[];
  /** Chunks not verified yet. */
  readonly missing: number;
  /** Chunks to ask the tracker for that only other zones have; it counts as asked for. */
  crossingsWanted(nowMs: number): readonly number[];
}

export type PlannerOptions = {
  chunkCount: number;
  have: ChunkSet;
  /** Chunks being checked on disk: neither held nor asked for until done or released. */
  held: ChunkSet;
  /**
   * The held chunks are released one after the other: leases of them are kept, and wished for. The
   * first one is asked for before, once, so that it is here when it can be checked.
   */
  growing?: boolean;
  /** Whether a hub or upstream may be asked for chunks at all. */
  hub: boolean;
  startMs: number;
  random: () => number;
  /** Requests in flight to one peer. Default PEER_INFLIGHT_MAX. */
  peerInflightMax?: number;
  /** Default HUB_INFLIGHT_MAX. */
  hubInflightMax?: number;
  /** Over all sources. Default DOWNLOAD_INFLIGHT_MAX. */
  inflightMax?: number;
};
