/**
 * How long a statement waits for another process that writes the database. The driver is
 * synchronous: the hub stands still meanwhile.
 */
export const BUSY_TIMEOUT_MS = 5000;
/** Rows of one insert and digests of one lookup; databases bound the number of parameters. */
export const STATEMENT_ROWS_MAX = 500;
/** Most blobs and manifests that one manifest may reach; a bigger one reaches nothing. */
export const REACH_MAX = 10_000;
