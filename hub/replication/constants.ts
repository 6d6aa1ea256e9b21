/** Registries that the configuration may name. */
export const REGISTRIES_MAX = 64;
/** Rules that the catalog holds. */
export const RULES_MAX = 500;
/** How old the rules may be by which a hub looks at pushes, unless it changed them itself. */
export const RULES_KNOWN_MS = 5_000;
/** Artifacts that one execution copies or looks at. */
export const ARTIFACTS_MAX = 20_000;
/** Repositories that one execution goes through. */
export const REPOSITORIES_MAX = 10_000;
/** Tags of one repository that an execution looks at. */
export const TAGS_MAX = 20_000;
/** Tags or repositories read at a time. */
export const PAGE = 500;
/** Executions that run at one hub at the same time. */
export const EXECUTIONS_AT_ONCE = 5;
/** How often the job of an execution is tried. */
export const EXECUTION_ATTEMPTS = 5;
/** The same of what was pushed, which may come again by nothing else: for half an hour and more. */
export const PUSH_ATTEMPTS = 13;
/** Attempts at an artifact in one run, unless the rule says otherwise. */
export const ARTIFACT_ATTEMPTS = 4;
/** Artifacts copied at the same time, unless the rule says otherwise. */
export const ARTIFACTS_AT_ONCE = 4;
/** Blobs of one artifact that are copied at the same time. */
export const BLOBS_AT_ONCE = 3;
/** Longest pause before the second attempt at an artifact; it doubles from one to the next. */
export const ARTIFACT_RETRY_BASE_MS = 1_000;
/** Longest pause before an attempt at an artifact. */
export const ARTIFACT_RETRY_MAX_MS = 60_000;
/** How often a running execution saves how far it is. */
export const NOTE_MS = 2_000;
/** Levels of referrers of referrers that come along. */
export const REFERRER_LEVELS_MAX = 4;
/** Referrers of one artifact that come along; more are an error of it. */
export const REFERRERS_MAX = 2_000;
/** Manifests of one artifact, with all that belong to it; more are an error of it. */
export const ARTIFACT_MANIFESTS_MAX = 10_000;
/** Pages of one list of another registry that are read. */
export const LIST_PAGES_MAX = 1_000;
/** Levels of an index in an index. */
export const INDEX_LEVELS_MAX = 4;
/** Bytes of a blob that are pulled between two moments at which a restart goes on. */
export const SEGMENT_BYTES = 16 * 1024 * 1024;
/** Bytes of one request of a push, and so what a restart may send again. */
export const PUSH_CHUNK_BYTES = 16 * 1024 * 1024;
/** Bytes read from storage at a time for a push. */
export const READ_BYTES = 256 * 1024;
/** Config of an image that is read for its platform, bytes. */
export const CONFIG_MAX_BYTES = 4 * 1024 * 1024;
/** Blobs of which a hub remembers at which registry it saw them. */
export const SEEN_BLOBS_MAX = 50_000;
/** Other repositories from which a blob may be mounted that are tried. */
export const MOUNTS_TRIED_MAX = 2;
/** Repositories of the hub that are looked at for where a blob may be mounted from. */
export const MOUNT_SOURCES_MAX = 16;
/** How often the blobs of an artifact under way are marked as in use. */
export const KEEP_ALIVE_MS = 5 * 60_000;
/** A blob that is there in part is forgotten after this long without progress. */
export const TRANSFER_KEPT_MS = 48 * 3_600_000;
/** Characters of what is told of one artifact. */
export const MESSAGE_MAX_CHARS = 500;
/** Steps that a pattern for tags may have when it is taken apart. */
export const PATTERN_STATES_MAX = 2_000;
/** How often half-copied blobs that nobody goes on with are looked for. */
export const TRANSFER_SWEEP_MS = 5 * 60_000;
