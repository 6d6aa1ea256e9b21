/** Where the fleet API begins on the hub's HTTP port. */
export const FLEET_API_BASE = '/api/fleet/v1';

/** Paths of the fleet API. All but `keys` want a signed request. */
export const FLEET_PATHS = {
  enrol: `${FLEET_API_BASE}/enrol`,
  keys: `${FLEET_API_BASE}/keys`,
  renew: `${FLEET_API_BASE}/renew`,
  members: `${FLEET_API_BASE}/members`,
  grants: `${FLEET_API_BASE}/grants`,
  tags: `${FLEET_API_BASE}/tags`,
  announce: `${FLEET_API_BASE}/announce`,
  prefetch: `${FLEET_API_BASE}/prefetch`,
} as const;

/** Most members in a fleet, and so in a snapshot. */
export const MEMBERS_MAX = 20_000;
/** Most revoked serials that a snapshot lists; older ones have expired. */
export const REVOKED_MAX = 20_000;
/** Most digests that are taken down at the same time; agents hold the whole list. */
export const PURGED_MAX = 1000;
/** Most downloads in one announcement. */
export const ANNOUNCE_DOWNLOADS_MAX = 256;
/** Most leases on hub chunks that an agent may ask for, and get, for one digest. */
export const HUB_CHUNKS_MAX = 64;
/** Chunks of one blob that an agent may ask to fetch from other zones in one announcement. */
export const CROSSINGS_WANTED_MAX = 64;
/** Most peers in the answer for one digest. */
export const ANNOUNCE_PEERS_MAX = 30;
/** Largest body of an enrol, renew or grant request in bytes. */
export const SMALL_REQUEST_MAX_BYTES = 16_384;
/** Largest announcement in bytes: every download with a full bitmap. */
export const ANNOUNCE_MAX_BYTES = 2 * 1_048_576;
/** Most tasks of prefetch that one call of an agent tells of. */
export const PREFETCH_REPORTS_MAX = 8;
/** Longest text of why such a task failed, characters. */
export const PREFETCH_REASON_MAX_CHARS = 500;
/** Most platforms that one order of prefetch names. */
export const PREFETCH_PLATFORMS_MAX = 16;
