/** Manifests, links or blobs that the collector decides on in one turn. */
export const GC_BATCH = 64;
/** How long one hub may collect before another takes over, unless it says that it goes on. */
export const GC_LEASE_MS = 2 * 60_000;
/** How often a hub looks whether a collection is due. */
export const GC_LOOK_MS = 60_000;
/** How long removals stay held off when who holds them off is gone. */
export const GC_HOLD_MS = 10 * 60_000;
/** How often who holds removals off says that it goes on. */
export const GC_HOLD_RENEW_MS = 60_000;
