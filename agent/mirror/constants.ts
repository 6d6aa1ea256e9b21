/** From the arrival of a request to its response headers; then 503 instead. */
export const HEADERS_TIMEOUT_MS = 5_000;
/** Of that time, kept for writing the answer: a first byte later than this follows the headers. */
export const HEADERS_MARGIN_MS = 500;
/**
 * Time for the hub to tell what a tag means before its last statement is looked for. The statement
 * counts only when the hub has not answered until the margin above, or cannot be reached.
 */
export const HUB_PATIENCE_MS = 2_500;
/** Before a hub that says it is busy is asked again what a tag means. */
export const HUB_BUSY_PAUSE_MS = 1_000;
/** The same while its last answer to this agent is missing. */
export const HUB_SILENT_PATIENCE_MS = 1_000;
/** How old a tag statement may be that answers in place of the hub, unless configured. */
export const STALE_TAG_MAX_AGE_MS = 24 * 60 * 60_000;
/** Silence of the source in the middle of a body; then the connection is cut. */
export const BODY_STALL_TIMEOUT_MS = 20_000;
/** The same while other parts of the blob arrive: less than the minute that containerd allows. */
export const BODY_STALL_MAX_MS = 45_000;
/** Time a client may leave its socket unread; then the connection is cut. */
export const CLIENT_STALL_TIMEOUT_MS = 5 * 60_000;
/** After a stall, requests for that digest are refused this long unless bytes arrive earlier. */
export const STALL_MEMORY_MS = 30_000;
/** Stalled digests remembered; the oldest are forgotten first. */
export const STALLED_DIGESTS_MAX = 1_024;

/** Requests answered at the same time; further ones get 503. */
export const REQUESTS_MAX = 512;
/** Of what a client calls itself, the characters that are logged. */
export const CLIENT_NAME_MAX_CHARS = 128;
/** What one call of sendfile(2) sends at most: it takes a thread of the pool that long. */
export const SENDFILE_MAX_BYTES = 1024 * 1024;
/** So many calls in a row that send nothing though there is room: not with this file. */
export const SENDFILE_REFUSALS_MAX = 8;
/** Such calls at the same time; there are fewer threads. */
export const SENDFILE_CALLS_MAX = 16;
/** Further ones wait: one for each request that is answered. */
export const SENDFILE_CALLS_WAITING_MAX = 65_536;

/** Connections per listener; further ones are closed on accept. */
export const CONNECTIONS_MAX = 1_024;
/** Bytes of a request line with its headers; registries give out tokens of several KiB. */
export const REQUEST_HEADERS_MAX_BYTES = 64 * 1024;
/** Header lines of one request. */
export const REQUEST_HEADER_LINES_MAX = 100;
/** Time for a client to send its headers, then the connection is cut without an answer. */
export const REQUEST_HEADERS_TIMEOUT_MS = 10_000;
/** Idle time of a kept connection; longer than the 90 s for which Go clients keep theirs. */
export const KEEP_ALIVE_TIMEOUT_MS = 120_000;
/** How often connections are looked through for the time-outs above. */
export const CONNECTIONS_CHECK_MS = 5_000;
/** Characters of path and query of a request. */
export const URL_MAX_CHARS = 8_192;

/** Memory for whole blobs and manifests on their way to clients, over all requests. */
export const BUFFERED_BYTES_MAX = 64 * 1024 * 1024;
/** Requests waiting for a part of that memory. */
export const BUFFERED_WAITERS_MAX = 512;

/** References remembered out of manifests that were resolved with rights. */
export const RIGHTS_MAX = 32_768;
/** How long a manifest that was resolved gives the right to its blobs. */
export const RIGHTS_TTL_MS = 30 * 60_000;

/** Upstreams that may be configured. */
export const UPSTREAMS_MAX = 64;
/** Token services that may be configured for one upstream. */
export const TOKEN_HOSTS_MAX = 8;
/** Host names of the hub that may be configured or learned. */
export const HUB_NAMES_MAX = 64;
/** A challenge relayed to the runtime. */
export const CHALLENGE_MAX_CHARS = 4_096;
/** Manifests, of at most 4 MiB each, being resolved or sent at the same time. */
export const MANIFESTS_MAX = 64;
/**
 * The same for the hub's own repositories: no longer than a grant, after which a repository made
 * private is private.
 */
export const HUB_RIGHTS_TTL_MS = 15 * 60_000;
/** Tokens of the hub that were verified and are remembered. */
export const VERIFIED_TOKENS_MAX = 4096;
