/** Verified bytes after which a blob's bitmap is written to disk. */
export const BITMAP_PERSIST_BYTES = 64 * 1024 * 1024;
/** Longest time a new bit stays in memory only. */
export const BITMAP_PERSIST_MS = 5_000;
/** Time the clean stop spends on flushing data; what is not flushed is checked after a reboot. */
export const CLOSE_FLUSH_MS = 5_000;

/** Entries (chunked and small together) one store holds; the least recently read leave first. */
export const ENTRIES_MAX = 200_000;
/** Memory for the facts of blobs that nobody uses now; more are read from disk when asked for. */
export const LOADED_BYTES_MAX = 32 * 1024 * 1024;
/** What a blob in memory is counted with beside its chunk hashes. */
export const LOADED_BLOB_BYTES = 2_048;
/** Blobs that peers may be told about, the last read first. */
export const LISTED_MAX = 512;
/** Changes to the index, uses mostly, that are kept in memory; more are written at once. */
export const INDEX_NEWS_MAX = 1_024;
/** Longest time such a change stays in memory only. */
export const INDEX_FLUSH_MS = 5_000;
/** Wait for another connection to the index. */
export const INDEX_BUSY_MS = 1_000;
/** With less room on the disk a new index is made in memory, for this run of the agent. */
export const INDEX_ROOM_BYTES = 8 * 1024 * 1024;
/** Rows of the index looked at together in the background. */
export const INDEX_BATCH = 64;
/** New content waits this long for an index that is made anew, then it is passed on unstored. */
export const REBUILD_WAIT_MS = 3_000;
/** Entries deleted in parallel. */
export const EVICTIONS_PARALLEL = 8;
/** Repositories and digests that may be pinned. */
export const PINNED_MAX = 1_024;
/** Data files kept open while nothing is done with them. */
export const IDLE_FILES_MAX = 64;
/** Chunks read for re-checking at the same time, over all blobs. */
export const RECHECK_PARALLEL = 2;
/** Chunks of an earlier run that are hashed before their first use, at the same time. */
export const PROVE_PARALLEL = 4;
/** Reads that wait for such a turn; more than readers and uploads together. */
export const PROVE_QUEUE_MAX = 4_096;
/** Entries looked at in parallel while the index is made anew. */
export const SCAN_PARALLEL = 16;
/** Spools in progress. */
export const SPOOLS_MAX = 64;
/** Blobs that the hub still fetches, in progress. */
export const GROWING_MAX = 256;
/** How long such a blob is given to peers that do not have its statement yet, once it is stored. */
export const GROWN_KEPT_MS = 30_000;

/** Largest meta file: the row of 16,384 chunk hashes and some more. */
export const META_MAX_BYTES = 1024 * 1024;
/** Largest bitmap file. */
export const BITMAP_FILE_MAX_BYTES = 64 * 1024;

/** Share of the free space that the default quota takes. */
export const DEFAULT_QUOTA_SHARE = 0.8;
/** Above this share of the quota blobs leave in the background. */
export const HIGH_WATER_SHARE = 0.95;
/** Down to this share of the quota. */
export const LOW_WATER_SHARE = 0.9;
/** How often using a blob is written down (as the file's time) for the order after a restart. */
export const TOUCH_INTERVAL_MS = 5 * 60_000;

/** Content that was not hashed for this long is hashed again. */
export const SCRUB_PERIOD = '7d';
/** Bytes a second that are hashed again, at most. */
export const SCRUB_RATE = '16MiB';
/** How often the scrub looks for content that is due. */
export const SCRUB_IDLE_MS = 60_000;
/** How long the scrub stands back before it looks again whether the node is busy. */
export const SCRUB_BUSY_MS = 5_000;
/** The store counts as busy for this long after somebody read or wrote. */
export const SCRUB_QUIET_MS = 2_000;
/** Load of the last minute for each processor above which the node counts as busy. */
export const SCRUB_LOAD_MAX = 0.8;

/** Rows of content of containerd read together, to look whether its files are there. */
export const NODE_LOOKS = 256;
/** How often all files of containerd are looked at, to follow what it deletes. */
export const NODE_LOOK_MS = 10_000;
/** Files of containerd known to be wrong that are remembered. */
export const NODE_REFUSED_MAX = 1_024;
