/** Part of the rate of a link that is left for bodies beside the headers of packets and of TLS. */
export const BODY_PART = 0.94;
/** Bytes that may leave at once after a pause, as the time the link takes for them. */
export const UPLINK_BURST_MS = 50;
/** How long a slice of a body waits for its turn at most; then it leaves whatever waits before. */
export const SLICE_WAIT_MAX_MS = 60_000;
/**
 * Repositories, blobs and callers that are remembered after their last body, so that nobody is new
 * with each request. More than twice as many as can wait at a time.
 */
export const FLOWS_KEPT_MAX = 32_768;
