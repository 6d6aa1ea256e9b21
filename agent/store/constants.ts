/** Verified bytes after which a blob's bitmap is written to disk. */
export const BITMAP_PERSIST_BYTES = 64 * 1024 * 1024;
/** Longest time a new bit stays in memory only. */
export const BITMAP_PERSIST_MS = 5_000;
/** Time the clean stop spends on flushing data; what is not flushed is checked after a reboot. */
export const CLOSE_FLUSH_MS = 5_000;

/** Entries (chunked and small together) one store holds; the least recently used leave first. */
export const ENTRIES_MAX = 50_000;
/** Data files kept open while nothing is done with them. */
export const IDLE_FILES_MAX = 64;
/** Chunks read for re-checking at the same time, over all blobs. */
export const RECHECK_PARALLEL = 2;
/** Chunks of an earlier run that are hashed before their first use, at the same time. */
export const PROVE_PARALLEL = 4;
/** Reads that wait for such a turn; more than readers and uploads together. */
export const PROVE_QUEUE_MAX = 4_096;
/** Entries looked at in parallel while the store opens. */
export const SCAN_PARALLEL = 16;
/** Spools in progress. */
export const SPOOLS_MAX = 64;

/** Largest meta file: the row of 16,384 chunk hashes and some more. */
export const META_MAX_BYTES = 1024 * 1024;
/** Largest bitmap file. */
export const BITMAP_FILE_MAX_BYTES = 64 * 1024;

/** Share of the free space that the default quota takes. */
export const DEFAULT_QUOTA_SHARE = 0.8;
/** Eviction goes on until this share of the quota is in use, so that it does not run per blob. */
export const LOW_WATER_SHARE = 0.95;
/** How often using a blob is written down (as the file's time) for the order after a restart. */
export const TOUCH_INTERVAL_MS = 5 * 60_000;
