/** Blobs of one image that are fetched at the same time before anybody asks for them. */
export const BLOBS_PARALLEL = 3;
/** Levels of indexes within indexes. */
export const INDEX_DEPTH_MAX = 4;
/** Manifests of one task. */
export const MANIFESTS_MAX = 1_000;
/** Blobs of one task. */
export const BLOBS_MAX = 10_000;
/** How often one task is tried before the hub is told that it failed. */
export const ATTEMPTS_MAX = 5;
/** Pause before the second try of a task; it doubles from one to the next. */
export const RETRY_BASE_MS = 1_000;
/** Longest such pause. */
export const RETRY_MAX_MS = 60_000;
/** How often a hub that does not answer is called again before the next hint of it is awaited. */
export const CALLS_FAILED_MAX = 5;
/** Pause before such a call. */
export const CALL_RETRY_MS = 2_000;
/** Shortest time between two calls, whatever the hub says. */
export const CALL_GAP_MIN_MS = 200;
/** Longest time between two calls while there is something to tell. */
export const CALL_GAP_MAX_MS = 60_000;
/** Rights that end sooner are renewed, before they are too old to be shown to peers. */
export const RIGHTS_FRESH_MS = 7 * 60_000;
/** Ended tasks that the hub was not told of yet; the oldest is forgotten, and done again. */
export const UNTOLD_MAX = 6;
