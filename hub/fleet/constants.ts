/** A member that is silent for this long is forgotten by the tracker. */
export const TRACKER_TTL_MS = 30_000;
/**
 * A member that downloads and is late by this with its next announcement is taken to be gone from
 * its downloads, so that what only it held is leased again.
 */
export const TRACKER_LATE_MS = 5000;
/** A chunk leased from the hub is leased to nobody else for so long without progress. */
export const LEASE_MS = 5000;
/** Leases one member has of one blob at a time: at first and at least, and at most. */
export const LEASES_PER_MEMBER_MIN = 4;
export const LEASES_PER_MEMBER_MAX = 64;
/**
 * Of the chunks of a blob that have not come from its upstream yet, those that are leased ahead:
 * so many over all members, and of one member at least LEASES_PER_MEMBER_MIN.
 */
export const LEASES_AHEAD = 16;
/** Digests the tracker knows at a time. */
export const TRACKER_DIGESTS_MAX = 50_000;
/** Pairs of member and digest the tracker knows at a time. */
export const TRACKER_PAIRS_MAX = 500_000;
/** Bytes of bitmaps and chunk tables in the tracker. */
export const TRACKER_BITMAP_MAX_BYTES = 128 * 1_048_576;
/** Digests one member may announce. */
export const TRACKER_DIGESTS_PER_MEMBER_MAX = 10_000;
/** Bytes of bitmaps and chunk tables that one member may cause: an eighth of all. */
export const TRACKER_BYTES_PER_MEMBER_MAX = TRACKER_BITMAP_MAX_BYTES / 8;
/** Leases that live at a time over all blobs: at first and at least, and at most. */
export const LEASES_OUT_MIN = 64;
export const LEASES_OUT_MAX = 2048;
/** Leases every blob may have, however many blobs share the above. */
export const LEASES_PER_BLOB_MIN = 4;
/** A lease that ended in a chunk sooner than this makes room for one more at a time. */
export const LEASE_QUICK_MS = 1000;
/** One that took longer than this makes it one less: the hub is busy enough. */
export const LEASE_SLOW_MS = 2500;
/** What agents may take beside their leases unless configured otherwise. */
export const SOURCE_BYTES_PER_SECOND = 64 * 1_048_576;
/** How much of it agents may take in one go: what it comes to in this time. */
export const SOURCE_BUDGET_BURST_MS = 2_000;
/**
 * Of a blob that is leased, what may be taken beside the leases within the time below: this part
 * of it, and of a small one so many chunks.
 */
export const BYPASS_PART = 0.1;
export const BYPASS_CHUNKS_MIN = 16;
export const BYPASS_WINDOW_MS = 60_000;
/** Chunks of a leased blob that a member may take at a time while its tracker cannot be asked. */
export const STAND_IN_CHUNKS = 1;
/** Members of the own zone looked at to choose the peers of one answer, and of other zones. */
export const PEER_SAMPLE_MAX = 80;
/** Members of a zone that fetch a blob from other zones for the rest of their zone. */
export const FEEDERS_PER_ZONE = 16;
/** With fewer peers of its own zone to name, a member that is no feeder is told of others too. */
export const OWN_ZONE_PEERS_MIN = 8;
/** Holders of the whole blob among the peers of one answer. */
export const COMPLETE_PEERS_MAX = 8;
/** Places among the peers of one answer kept for other zones. */
export const OTHER_ZONE_PEERS_MIN = 4;
/** Chunks of one blob that come from other zones into one zone at a time, and of one member. */
export const CROSSINGS_PER_ZONE_MIN = 16;
export const CROSSINGS_PER_ZONE_MAX = 1024;
export const CROSSINGS_PER_MEMBER_MIN = 4;
export const CROSSINGS_PER_MEMBER_MAX = 32;
/** They become more with one that took less than this, and fewer with one that took more. */
export const CROSSING_QUICK_MS = 2000;
export const CROSSING_SLOW_MS = 4000;
/** For so long at most a chunk that a member fetches from another zone is its own. */
export const CROSSING_MAX_MS = 30_000;
/** Who asks for a chunk for so long that its zone has cannot get it there, and may fetch it. */
export const CROSSING_MISSED_MS = 4_000;
/** Such chunks that are remembered, over all members and blobs. */
export const CROSSINGS_MISSED_MAX = 10_000;
/** Time between two announcements of a member that downloads, and of one that does not. */
export const ANNOUNCE_ACTIVE_MS = 1000;
export const ANNOUNCE_IDLE_MS = 10_000;
/** Bytes of announcements that are read at the same time; more are refused as BUSY. */
export const ANNOUNCE_BODIES_MAX_BYTES = 64 * 1_048_576;
/** Announcements that the tracker wants to get at most, by making the interval longer. */
export const ANNOUNCES_PER_SECOND = 2000;
/** When to ask again after leases were handed out, and at the latest when none were left. */
export const LEASE_RETRY_MS = 250;
/** Time between two searches for silent members. */
export const TRACKER_SWEEP_MS = 2000;

/** Life of a membership. */
export const MEMBERSHIP_LIFE_MS = 7 * 86_400_000;
/** A membership younger than this part of its life is not signed again without a change. */
export const RENEW_EARLIEST_PART = 1 / 6;
/** How long after its end a membership can still be renewed by its key, without a new token. */
export const RENEW_GRACE_MS = 7 * 86_400_000;
/** Certificates of one member that are valid at a time; beyond it the oldest is revoked. */
export const CERTIFICATES_PER_MEMBER_MAX = 8;
/**
 * Certificates of one member within one life of a membership; beyond it a change of its addresses
 * waits for the next renewal.
 */
export const CERTIFICATES_PER_LIFE_MAX = 64;
/** Refused enrolments are told in one log line for so long, with their number. */
export const REFUSED_ENROLMENT_LOG_MS = 60_000;
/** Enrolments, renewals and revocations that wait for each other. */
export const MEMBER_WRITES_QUEUE_MAX = 4096;
/**
 * Time between two looks at what other hubs changed in the catalog they share: after so long a
 * revocation or a new key of one counts at the others.
 */
export const SHARED_POLL_MS = 1000;
/**
 * Time from one look at the members in the catalog to the next, when agents call that this hub
 * does not know: another may have let them in.
 */
export const MEMBERS_LOOK_GAP_MS = 200;
/** Join tokens that exist at a time. */
export const JOIN_TOKENS_MAX = 1000;

/** Grants kept for reuse, counted in digests they list. */
export const GRANT_CACHE_DIGESTS_MAX = 200_000;
/** How long a grant is reused before the right is looked up again. */
export const GRANT_CACHE_MS = 10_000;
/** Tag statements kept for reuse. */
export const TAG_STATEMENT_CACHE_MAX = 10_000;
/** How long one is reused while the tag does not move. */
export const TAG_STATEMENT_CACHE_MS = 10_000;
/** Statements kept. */
export const STATEMENT_CACHE_MAX = 10_000;
/** Blobs of repositories whose size is kept for announcements. */
export const BLOB_SIZES_MAX = 20_000;
/** How long a blob of a repository is believed to be in it, when a member announces it. */
export const BLOB_SIZE_CACHE_MS = 10_000;
/** How long it is believed that it is not. */
export const UNKNOWN_BLOB_CACHE_MS = 2000;
/** Time between two clean-ups of old certificates. */
export const PURGE_MS = 3_600_000;
/** Versions of the member list for which the changes since are kept ready. */
export const MEMBER_DELTAS_MAX = 64;
/** Keys for tokens that were replaced and still verify; tokens live for minutes. */
export const TOKEN_KEYS_KEPT = 4;
/** Time from one look at the keys in the catalog to the next, when an unknown one is met. */
export const RING_LOOK_GAP_MS = 200;
/**
 * For so long after a key was replaced, hubs that share the keys may sign with it: until they have
 * looked, and by as much as their clocks differ.
 */
export const RING_SPREAD_MS = 30_000;
/** How often a change of the keys is tried again because another hub changed them meanwhile. */
export const RING_ATTEMPTS_MAX = 16;
/** Keys for bundles that were replaced and whose bundles are still believed. */
export const BUNDLE_KEYS_KEPT = 16;
