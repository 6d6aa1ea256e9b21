/** Manifests and tags that are asked of upstreams at the same time; more get 503. */
export const FLIGHTS_MAX = 4096;
/** How long an upstream may take to answer about a tag or a manifest. */
export const MANIFEST_TIMEOUT_MS = 30_000;
/** How long a client waits for an upstream when there is an older answer to give. */
export const STALE_WAIT_MS = 2500;
/** An answer that a tag is unchanged is noted for other hubs when the last note is older. */
export const TAG_NOTE_MS = 10_000;
/** What a tag named is stated for so long after it was compared, or as long as it is believed. */
export const TAG_KNOWN_MS = 60_000;
/**
 * Tags of which this hub was told what they name before the manifest was here; clients that ask by
 * HEAD first cost no further question while it is fresh. Each hub remembers its own: where several
 * share a catalog, each may ask once until one of them has noted the tag.
 */
export const TOLD_TAGS_MAX = 8192;
/** Longest media type that is remembered so. */
export const TOLD_TYPE_MAX_CHARS = 255;
/**
 * Names that upstreams do not have and that are remembered for a while; by each hub for itself and
 * until it stops, so that another hub, or the next run, asks once more.
 */
export const NEGATIVES_MAX = 20_000;
/** How long one hub has to fetch a manifest before another may try. */
export const FETCH_LEASE_MS = 10_000;
/** How often a hub looks whether another one has fetched a manifest. */
export const FETCH_LOOK_MS = 50;
/** Leases that all manifests share; those with the same one are fetched one after the other. */
export const FETCH_LEASES = 1024;
/** Pages of tags asked of an upstream for one answer. */
export const TAG_PAGES_MAX = 16;
/** Referrers of an upstream in one answer. */
export const REFERRERS_MAX = 1000;
/** Of these, those whose size has to be asked for. */
export const REFERRERS_ASKED_MAX = 64;
/** What a client that meets an upstream that fails is told to wait, unless it is known better. */
export const AWAY_RETRY_MS = 10_000;
/** Blobs that one hub fetches of upstreams at the same time, half of them of one; more get 503. */
export const INGESTS_MAX = 256;
/** Most bytes of a blob on its way gathered before they are written. */
export const INGEST_BATCH_BYTES = 1_048_576;
/** The same of its first bytes, for which readers wait. */
export const INGEST_FIRST_BATCH_BYTES = 65_536;
/** So many of a blob are its first bytes: a chunk of all but the largest. No more come ahead. */
export const INGEST_FIRST_BYTES = 4 * 1_048_576;
/** How long a blob whose first bytes are fetched ahead waits for who wants it. */
export const AHEAD_MS = 2_000;
/** Blobs that are fetched ahead at the same time. */
export const AHEAD_MAX = 4;
/** Wishes for such that are looked at or under way; more are passed over. */
export const AHEAD_QUESTIONS_MAX = 16;
/** Bytes of all such batches; each has at least INGEST_BATCH_MIN_BYTES. */
export const INGESTS_MEMORY_BYTES = 32 * 1_048_576;
/** Bytes of a batch while there are very many. */
export const INGEST_BATCH_MIN_BYTES = 65_536;
/**
 * Bytes after which a blob on its way is parked, so that another hub can go on from there, if as
 * many are still to come; the same as a part in S3, where parking within a part costs another one.
 */
export const PARK_BYTES = 8 * 1_048_576;
/** How often a blob is parked at most; a larger one after more bytes. */
export const PARKS_MAX = 1024;
/** A parked blob that nobody goes on with is dropped after this. */
export const PARKED_MAX_AGE_MS = 24 * 3_600_000;
/** How often files with bytes of blobs that nobody goes on with are looked for. */
export const SPOOL_SWEEP_MS = 10 * 60_000;
/** How long a hub that fetches a blob keeps others from it without saying that it goes on. */
export const INGEST_HOLD_MS = 6000;
/** How often it says so. */
export const INGEST_HOLD_RENEW_MS = 2000;
/** Tries to go on with a blob after which it is given up, if none of them brought a byte. */
export const INGEST_TRIES_MAX = 6;
/** Longest pause before the first of them; it doubles from one to the next. */
export const INGEST_PAUSE_BASE_MS = 200;
/** Longest pause between two of them. */
export const INGEST_PAUSE_MAX_MS = 5000;
/** Longest wait for a time that the upstream itself named. */
export const INGEST_TOLD_WAIT_MAX_MS = 60_000;
/** A body of an upstream that brings no byte for this long is asked for again from there. */
export const INGEST_STALL_MS = 20_000;
/** A reader of a blob on its way that makes no progress for this long is cut. */
export const READ_STALL_MS = 60_000;
/** Longest wait of a reader for one byte of a blob that does make progress. */
export const READ_WAIT_MAX_MS = 30 * 60_000;
/** How long a blob that an upstream sends wrong is not asked for again. */
export const WRONG_PAUSE_MS = 30_000;
/** How long blobs are passed on without being stored after the storage was full. */
export const FULL_PAUSE_MS = 30_000;
/** Blobs passed on without being stored at the same time; more get 503. */
export const PASSED_ON_MAX = 64;
/** Repositories of one upstream that a blob on its way is given to. */
export const INGEST_REPOSITORIES_MAX = 256;
/** Repositories that are looked at for one that makes a stored blob public. */
export const LINK_SOURCES_MAX = 64;
/** How long a reader waits for a hub that goes on with a blob when the one that had it is gone. */
export const OWNER_WAIT_MS = 20_000;
/** How often a reader goes on elsewhere, or there again, while no byte comes. */
export const MOVES_MAX = 30;
/** Time between two looks for it. */
export const OWNER_LOOK_MS = 250;
/** How long another hub may take to begin a blob that is on its way there. */
export const HUB_HEADERS_TIMEOUT_MS = 35_000;
/** Connections to one other hub for such blobs. */
export const HUB_STREAMS_MAX = 256;
/** Questions for leaves of such blobs under way to other hubs; more are told to come back. */
export const HUB_LEAVES_CALLS_MAX = 128;
/** Those who wait for their answers; more are told to come back. */
export const HUB_LEAVES_WAITERS_MAX = 2048;
/** How long another hub may take to answer one, beside the time that it holds it back. */
export const HUB_LEAVES_SPARE_MS = 1000;
/** How long a hub that took longer is not asked one. */
export const HUB_LEAVES_PAUSE_MS = 1000;
/** Blobs on their way to other hubs of which this one remembers the size. */
export const HUB_SIZES_MAX = 1024;
/** Largest question of one hub to another about a blob. */
export const HUB_QUESTION_MAX_BYTES = 4096;
