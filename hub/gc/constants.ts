/** Manifests, links or blobs that the collector decides on in one turn. */
export const GC_BATCH = 16;
/** How long a collection rests after a turn, in times of what that took. */
export const GC_REST = 4;
/** Longest rest after a turn. */
export const GC_REST_MAX_MS = 2_000;
/** How long one hub may collect before another takes over, unless it says that it goes on. */
export const GC_LEASE_MS = 2 * 60_000;
/** How often a hub looks whether a collection is due. */
export const GC_LOOK_MS = 60_000;
