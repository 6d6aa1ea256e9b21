/** Links or blobs that the collector decides on in one transaction. */
export const GC_BATCH = 64;
/** How long one hub may collect before another takes over, unless it says that it goes on. */
export const GC_LEASE_MS = 2 * 60_000;
/** How often a hub looks whether a collection is due. */
export const GC_LOOK_MS = 60_000;
