/** Time between two heartbeats of a replica, each with a look at those of the others. */
export const HEARTBEAT_MS = 500;
/** A heartbeat that takes longer has failed. */
export const HEARTBEAT_TIMEOUT_MS = 2500;
/** A replica whose last heartbeat began longer ago than this owns nothing any more. */
export const LAPSE_MS = 3000;
/**
 * A replica whose heartbeats stood still for this long, as another one saw it, is taken out. It has
 * lapsed by then by its own clock, unless one of the two clocks runs faster by a quarter.
 */
export const TAKEOVER_MS = 4000;
/** Time before a replica that could not join, or was taken out, tries again. */
export const JOIN_RETRY_MS = 1000;
/** Time between two looks of a replica that waits for the others to see it. */
export const SETTLE_LOOK_MS = 100;
/** Replicas that share a catalog. */
export const REPLICAS_MAX = 32;
/** Earlier views a replica remembers to know what it did not own all the time. */
export const FORMER_VIEWS_MAX = 16;
/** Least time between two looks at the view that calls of others cause. */
export const REFRESH_SPACING_MS = 100;
/** An announcement passed on to another replica has no answer after this. */
export const FORWARD_TIMEOUT_MS = 1000;
/** A replica that did not answer is not asked again for this long. */
export const FORWARD_PAUSE_MS = 500;
/** Announcements under way to one other replica. */
export const FORWARDS_MAX = 512;
/** Connections to one other replica. */
export const FORWARD_CONNECTIONS_MAX = 16;
/** Largest announcement passed on: one of an agent and the certificate of its sender. */
export const FORWARD_MAX_BYTES = 3 * 1_048_576;
/** Largest answer to one. */
export const FORWARD_ANSWER_MAX_BYTES = 8 * 1_048_576;
/** Bytes of announcements of other replicas that are read at the same time. */
export const FORWARD_BODIES_MAX_BYTES = 48 * 1_048_576;
/** Calls of another replica that may overtake each other. */
export const REPLAY_WINDOW_CALLS = 4096;
/** Members kept that only other replicas know. */
export const GUESTS_MAX = 20_000;
/** When an agent is to ask again about a blob of which nobody could be asked. */
export const AWAY_RETRY_MS = 1000;
