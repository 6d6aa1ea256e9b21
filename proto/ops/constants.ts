/** Bytes of a configuration file that are read; a larger file is refused. */
export const CONFIG_FILE_MAX_BYTES = 1024 * 1024;
/** Problems reported for one configuration; further ones are counted, not listed. */
export const CONFIG_PROBLEMS_MAX = 50;
/** Largest edit distance at which another key is offered as the one that was meant. */
export const SUGGESTION_DISTANCE_MAX = 3;

/** Addresses one server of a program listens on. */
export const LISTENERS_MAX = 8;

/** Connections an ops server holds at once; further ones are closed on accept. */
export const OPS_CONNECTIONS_MAX = 64;
/** Time for a client of the ops server to send its request headers. */
export const OPS_HEADERS_TIMEOUT_MS = 5_000;
/** Idle time after which a kept-alive ops connection is closed. */
export const OPS_KEEP_ALIVE_MS = 15_000;
/** Time one health check or one metrics scrape may take before it answers 503. */
export const OPS_CHECK_TIMEOUT_MS = 5_000;

/** Longest string value written into one log field; the rest is cut. */
export const LOG_FIELD_MAX_CHARS = 4_096;

/** Time after the drain deadline for the last close calls, before the process ends regardless. */
export const SHUTDOWN_GRACE_MS = 5_000;

/** Time for a running hub to answer the command line. */
export const JOIN_TOKEN_REQUEST_TIMEOUT_MS = 10_000;
/** How long `purge` waits for the nodes to remove what was taken down, unless told otherwise. */
export const PURGE_WAIT_MS = 60_000;
/** Time between two questions which nodes have. */
export const PURGE_POLL_MS = 1000;
/** How often `gc run --wait` asks whether the collection has ended. */
export const GC_POLL_MS = 500;
/** Time between two looks at an execution of a rule of replication that is waited for. */
export const REPLICATION_POLL_MS = 500;
/** How long a hub may be away while a command waits for what it does. */
export const HUB_AWAY_MS = 60_000;
/** Time between two tries then. */
export const HUB_AWAY_STEP_MS = 1000;
/** How often `prefetch --wait` asks how far the nodes are. */
export const PREFETCH_POLL_MS = 1000;
/** It tells of a node again when that is so much further. */
export const PREFETCH_STEP_PERCENT = 10;
/** Tries to take a lock file that others take and remove meanwhile; then it counts as held. */
export const LOCK_FILE_TRIES_MAX = 8;
