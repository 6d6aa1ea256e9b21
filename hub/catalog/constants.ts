/**
 * How long a statement waits for another process that writes the database. The driver is
 * synchronous: the hub stands still meanwhile.
 */
export const BUSY_TIMEOUT_MS = 5000;
/** Rows of one insert and digests of one lookup; databases bound the number of parameters. */
export const STATEMENT_ROWS_MAX = 500;
/**
 * How long the bytes of a blob that somebody uploads again are kept from removal: longer than
 * storage takes to complete the largest upload.
 */
export const PIN_MS = 15 * 60_000;
/** Most blobs and manifests that one manifest may reach; a bigger one reaches nothing. */
export const REACH_MAX = 10_000;
/** Connections to PostgreSQL of one hub, unless `catalog.connections` says otherwise. */
export const POOL_SIZE = 16;
/** Most connections to PostgreSQL that `catalog.connections` may ask for. */
export const POOL_SIZE_MAX = 200;
/** Calls that wait for a connection to PostgreSQL; one more is refused. */
export const POOL_WAITING_MAX = 4096;
/** How long a call waits for a connection to PostgreSQL, new or given back. */
export const POOL_CONNECT_TIMEOUT_MS = 3000;
/** After this an unused connection to PostgreSQL is closed. */
export const POOL_IDLE_MS = 30_000;
/** PostgreSQL ends a statement that runs longer, waiting for locks included. */
export const STATEMENT_TIMEOUT_MS = 10_000;
/** A PostgreSQL that is silent for longer is given up, with the connection to it. */
export const ANSWER_TIMEOUT_MS = 12_000;
/** PostgreSQL ends a transaction whose hub says nothing for longer. */
export const TRANSACTION_IDLE_MS = 15_000;
/** How long bringing a PostgreSQL database to the newest schema may take, other hubs included. */
export const MIGRATION_TIMEOUT_MS = 600_000;
/** How long a hub that starts waits for PostgreSQL to answer before it gives up and ends. */
export const POSTGRES_START_MS = 60_000;
/** Longest pause before it asks again. */
export const POSTGRES_START_PAUSE_MS = 2_000;
/** How often a transaction is run that PostgreSQL ends because of a concurrent one. */
export const CONFLICT_ATTEMPTS_MAX = 8;
/** Longest pause before the first of those attempts; it doubles from one to the next. */
export const CONFLICT_PAUSE_BASE_MS = 10;
/** Longest pause before such a transaction is run again. */
export const CONFLICT_PAUSE_MAX_MS = 200;
/** Bytes of manifests kept in memory by a hub that shares its catalog with no other. */
export const MANIFEST_CACHE_BYTES = 16 * 1024 * 1024;
/** What each of them is taken to need beside its content. */
export const MANIFEST_CACHE_ENTRY_BYTES = 512;
/** Prepared statements that are kept for SQLite. */
export const STATEMENT_CACHE_MAX = 256;
/** Transactions that share one commit to the disk. */
export const COMMIT_GROUP_MAX = 64;
/** Rows that a snapshot of the catalog holds at a time. */
export const SNAPSHOT_ROWS = 500;
/** Rows that it holds of tables whose rows may have megabytes. */
export const SNAPSHOT_LARGE_ROWS = 8;
/** Snapshots of the catalog that one hub reads at a time. */
export const SNAPSHOTS_MAX = 2;
/** PostgreSQL ends a snapshot whose reader says nothing for longer. */
export const SNAPSHOT_IDLE_MS = 5 * 60_000;
/** Collections that the catalog remembers. */
export const GC_RUNS_KEPT = 50;
/** How long a program that uses a shared catalog is believed to be there without saying so. */
export const PRESENCE_MS = 30_000;
/** How often it says so. */
export const PRESENCE_RENEW_MS = 10_000;
/** How far ahead the clock of another hub may be that noted when a tag was compared. */
export const HUB_CLOCK_SKEW_MS = 60_000;
