/** Uploads that may be open at the same time. */
export const UPLOADS_MAX = 1024;
/** Of these, those of one account or robot: the others still get a place. */
export const UPLOADS_PER_SUBJECT_MAX = 256;
/** How often a hub that begins uploads counts those of all hubs. */
export const UPLOADS_COUNT_MS = 1000;
/** Repositories that a mount without `from` looks at for the blob. */
export const MOUNT_SOURCES_MAX = 16;
/** An upload without a request for this long is dropped. */
export const UPLOAD_IDLE_MS = 24 * 60 * 60_000;
/** How often idle uploads are looked for. */
export const UPLOAD_SWEEP_MS = 60_000;
/** An upload without a request for this long ends when somebody has no place for another one. */
export const UPLOAD_YIELD_MS = 15 * 60_000;
/** Uploads that end at once to make room. */
export const UPLOAD_YIELD_BATCH = 16;
/** What is in the blob store of an upload that nobody can name is removed after this long. */
export const UPLOAD_ORPHAN_MS = 24 * 60 * 60_000;
/** How long an upload is kept for a hub that does not say that its request still runs. */
export const UPLOAD_HOLD_MS = 15_000;
/** How often a hub says so. */
export const UPLOAD_HOLD_RENEW_MS = 5_000;
/** An upload without a request for this long holds no file and no memory of the hub. */
export const UPLOAD_RELEASE_MS = 5 * 60_000;
/** Expired uploads removed in one turn. */
export const UPLOAD_EXPIRED_BATCH = 100;
/** Most bytes of an upload gathered before they are written. */
export const UPLOAD_BATCH_BYTES = 1024 * 1024;
/** Bytes that all uploads share to gather in; each has at least UPLOAD_BATCH_MIN_BYTES. */
export const UPLOADS_MEMORY_BYTES = 32 * 1024 * 1024;
/** Bytes of an upload gathered before they are written, while there are very many. */
export const UPLOAD_BATCH_MIN_BYTES = 64 * 1024;
/** What each piece of an upload takes in memory beside its bytes, however few they are. */
export const UPLOAD_SLICE_BYTES = 512;
/** Bytes in which an upload is read back to be hashed. */
export const READ_BACK_BYTES = 1024 * 1024;
/** Buffers in flight for one body. */
export const BODY_BUFFERS = 2;
/** Most bytes of the buffers of one body that is sent. */
export const BODY_MEMORY_BYTES = 2 * 1024 * 1024;
/** Bytes of the buffers of all bodies that are sent; each has at least BODY_MEMORY_MIN_BYTES. */
export const BODIES_MEMORY_BYTES = 32 * 1024 * 1024;
/** Bytes of the buffers of one body that is sent, while there are very many. */
export const BODY_MEMORY_MIN_BYTES = 64 * 1024;
/** Entries of a page of tags or repositories when the client names no number. */
export const PAGE_DEFAULT = 100;
/** Most entries of a page, whatever the client asks. */
export const PAGE_MAX = 1000;
/** Most bytes of the entries of one page of referrers, so that the page is a manifest's size. */
export const REFERRERS_PAGE_BYTES = 4 * 1024 * 1024 - 1024;
/** Tags that one push of a manifest may set; more get 414. */
export const TAGS_PER_PUSH_MAX = 50;
/** A manifest being pushed that is larger than this needs one of the places for large ones. */
export const MANIFEST_SMALL_BYTES = 256 * 1024;
/** Large manifests whose bytes are in memory at the same time. */
export const LARGE_MANIFESTS_MAX = 4;
/** Large manifests whose sending is held back until there is a place; more get 503. */
export const LARGE_MANIFESTS_QUEUED_MAX = 256;
/** Registry requests served at the same time; more get 503. */
export const REQUESTS_MAX = 4096;
/** How long the rest of a refused body is read and thrown away before the connection is cut. */
export const REFUSED_BODY_MS = 10_000;
/** What a client that is told to come back later is told to wait, seconds. */
export const RETRY_AFTER_S = 5;
/** An answer out of memory that is larger than this is counted until its client has taken it. */
export const LARGE_ANSWER_BYTES = 64 * 1024;
/** Bytes of such answers; more get 503. */
export const LARGE_ANSWERS_MAX_BYTES = 128 * 1024 * 1024;
/** Bodies up to this are put into one piece with the headers of the answer. */
export const ONE_PIECE_BYTES = 16 * 1024;
/** A blob no manifest names is noted as in use again when it is asked for this long after. */
export const USE_STEP_MS = 60_000;
/** How long an upload waits for bytes of the same digest that are being removed. */
export const LEAVING_WAIT_MS = 5_000;
/** Time between two looks whether they are gone. */
export const LEAVING_STEP_MS = 25;
