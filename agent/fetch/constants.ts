/** Chunk requests in flight to one peer for one blob. */
export const PEER_INFLIGHT_MAX = 4;
/** Chunk requests in flight to the hub for one blob. */
export const HUB_INFLIGHT_MAX = 4;
/** Chunk requests in flight for one blob over all sources. */
export const DOWNLOAD_INFLIGHT_MAX = 24;
/** Peers a planner keeps state for. */
export const PLANNER_PEERS_MAX = 64;
/** Requests in flight that repeat one in flight elsewhere, per blob. */
export const DUPLICATES_MAX = 4;
/** Peers asked for the same chunk at the same time; the hub may come on top. */
export const ATTEMPTS_PER_CHUNK_MAX = 2;

/** Chunks that come first when a reader is about to stall, over all readers of a blob. */
export const URGENT_WINDOW_CHUNKS = 16;
/** A steady reader with less than this ahead of it is urgent. */
export const URGENT_AHEAD_MS = 2_000;
/** A reader that has stood this long is urgent, and may take its chunk from the hub unleased. */
export const URGENT_STOOD_MS = 10_000;
/** Unleased chunk requests to the hub for standing readers or a starved download. */
export const UNLEASED_INFLIGHT_MAX = 2;

/** A request is overdue after this, or four times the usual duration if that is longer. */
export const STALL_MIN_MS = 2_000;
export const STALL_MAX_MS = 60_000;
/** An overdue request is given up after this many stall times. */
export const GIVE_UP_STALLS = 4;
export const GIVE_UP_MAX_MS = 120_000;
/** An overdue request this old makes room when all who were asked for its chunk have stalled. */
export const REPLACE_MIN_MS = 8_000;

/** Without progress from peers or leases for this long, the hub is asked without a lease. */
export const STARVED_MS = 3_000;
/** Spread of the above, so that many agents do not turn to the hub in the same instant. */
export const STARVED_SPREAD_MS = 1_000;
/** With no other agent known for this long, the hub is read in order and without leases. */
export const ALONE_MS = 2_000;

/** Leases asked for at first; doubles while they run out early, up to the maximum. */
export const LEASE_TARGET_MIN = 8;
export const LEASE_TARGET_MAX = 64;
/** Leases remembered per blob. */
export const LEASES_MAX = 256;

/** Pause of a source after failures: full jitter between half and the whole, doubling. */
export const SOURCE_PAUSE_MIN_MS = 500;
export const SOURCE_PAUSE_MAX_MS = 30_000;
export const HUB_PAUSE_MAX_MS = 5_000;
/** The longest pause of a peer that said it is busy. */
export const BUSY_PAUSE_MAX_MS = 5_000;
