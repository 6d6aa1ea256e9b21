import { Type, type Static } from 'typebox';
import { BITMAP_MAX_BYTES } from '../swarm/constants.ts';
import { BLOB_MAX_BYTES, CHUNKS_MAX } from '../chunks/layout.ts';
import { GRANT_DIGESTS_MAX, GRANT_MAX_BYTES } from '../trust/grant.ts';
import { JOIN_TOKEN_MAX_CHARS } from '../trust/join-token.ts';
import { BUNDLE_MAX_BYTES } from '../trust/key-bundle.ts';
import { MEMBERSHIP_ADDRESSES_MAX, MEMBERSHIP_MAX_BYTES } from '../trust/membership.ts';
import { TAG_STATEMENT_MAX_BYTES } from '../trust/tag-statement.ts';
import {
  ANNOUNCE_DOWNLOADS_MAX,
  ANNOUNCE_PEERS_MAX,
  CROSSINGS_WANTED_MAX,
  HUB_CHUNKS_MAX,
  MEMBERS_MAX,
  PURGED_MAX,
  REVOKED_MAX,
} from './constants.ts';

const PORT_MAX = 65_535;
const NAME_MAX_CHARS = 255;
const ADDRESS_MAX_CHARS = 45;
const HUB_NAMES_MAX = 64;
const VERSION_MAX_CHARS = 64;
const UPSTREAMS_MAX = 64;
const TAG_MAX_CHARS = 128;
const AUTHORIZATION_MAX_CHARS = 8192;
const TOKEN_MAX_CHARS = 3072;

/** Standard base64 of up to `maxBytes` bytes. */
function base64(maxBytes: number): Type.TString {
  return Type.String({ maxLength: Math.ceil(maxBytes / 3) * 4, pattern: '^[A-Za-z0-9+/]*={0,2}$' });
}

const DIGEST = Type.String({ pattern: '^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' });
/** No text has a NUL: databases take none. */
const TEXT = '^[^\\u0000]*$';
const NAME = Type.String({ minLength: 1, maxLength: NAME_MAX_CHARS, pattern: TEXT });
const PORT = Type.Integer({ minimum: 1, maximum: PORT_MAX });
const LANE_PORT = Type.Integer({ minimum: 0, maximum: PORT_MAX });
const ADDRESSES = Type.Array(Type.String({ maxLength: ADDRESS_MAX_CHARS }), {
  maxItems: MEMBERSHIP_ADDRESSES_MAX,
});
const MEMBERSHIP = base64(MEMBERSHIP_MAX_BYTES);
const KEY_BUNDLE = base64(BUNDLE_MAX_BYTES);
const COUNTER = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const TOKEN = Type.String({ maxLength: TOKEN_MAX_CHARS });
const PURGED_VERSION = Type.String({ pattern: '^[0-9a-f]{0,16}$' });
const VERSION = Type.String({ maxLength: VERSION_MAX_CHARS, pattern: TEXT });

/** Registries whose content the hub gives out under their own names. */
export const Upstreams = Type.Array(
  Type.Object({
    /** Canonical host. */
    name: NAME,
    /** A first path segment that means the same. */
    alias: Type.Optional(NAME),
  }),
  { maxItems: UPSTREAMS_MAX },
);
export type UpstreamName = Static<typeof Upstreams>[number];

// Requests allow unknown properties, and so do answers: version N and N - 1 work together.

export const EnrolRequest = Type.Object({
  token: Type.String({ maxLength: JOIN_TOKEN_MAX_CHARS, pattern: TEXT }),
  node: NAME,
  peerId: Type.String({ maxLength: 64 }),
  addresses: ADDRESSES,
  libp2pPort: PORT,
  lanePort: LANE_PORT,
  /** For logs only: the hub has its own record of zones. */
  zone: Type.Optional(Type.String({ maxLength: 63 })),
  version: VERSION,
});
export type EnrolRequest = Static<typeof EnrolRequest>;

export const EnrolResponse = Type.Object({
  fleetId: NAME,
  keyBundle: KEY_BUNDLE,
  membership: MEMBERSHIP,
  hubNames: Type.Array(NAME, { maxItems: HUB_NAMES_MAX }),
  membersVersion: COUNTER,
  upstreams: Type.Optional(Upstreams),
});
export type EnrolResponse = Static<typeof EnrolResponse>;

export const KeysResponse = Type.Object({ keyBundle: KEY_BUNDLE });
export type KeysResponse = Static<typeof KeysResponse>;

export const RenewRequest = Type.Object({
  addresses: ADDRESSES,
  libp2pPort: PORT,
  lanePort: LANE_PORT,
  version: VERSION,
});
export type RenewRequest = Static<typeof RenewRequest>;

export const RenewResponse = Type.Object({ membership: MEMBERSHIP, keyBundle: KEY_BUNDLE });
export type RenewResponse = Static<typeof RenewResponse>;

export const MembersQuery = Type.Object({
  version: Type.Optional(Type.String({ pattern: '^[0-9]{1,16}$' })),
  /** Present: what changed since that version is enough. */
  delta: Type.Optional(Type.String({ maxLength: 1 })),
  /** Version of the list of what was taken down that the agent has acted on; may be empty. */
  purged: Type.Optional(PURGED_VERSION),
});
export type MembersQuery = Static<typeof MembersQuery>;

/** Without lists: nothing changed since the version that was asked about. */
export const MembersResponse = Type.Object({
  version: COUNTER,
  /** The memberships are only those signed after this version. */
  since: Type.Optional(COUNTER),
  memberships: Type.Optional(Type.Array(MEMBERSHIP, { maxItems: MEMBERS_MAX })),
  revokedSerials: Type.Optional(Type.Array(COUNTER, { maxItems: REVOKED_MAX })),
  /** Left out: as they were. */
  upstreams: Type.Optional(Upstreams),
  /** There is content that this node is to have before it is asked for. */
  prefetch: Type.Optional(Type.Boolean()),
  /** All that is taken down, unless the agent has said that it knows. */
  purged: Type.Optional(
    Type.Object({
      version: PURGED_VERSION,
      digests: Type.Array(DIGEST, { maxItems: PURGED_MAX }),
    }),
  ),
});
export type MembersResponse = Static<typeof MembersResponse>;

export const GrantRequest = Type.Object({
  namespace: NAME,
  repository: NAME,
  digest: DIGEST,
  /** The Authorization header of the runtime, for content that not everybody may read. */
  authorization: Type.Optional(Type.String({ maxLength: AUTHORIZATION_MAX_CHARS })),
});
export type GrantRequest = Static<typeof GrantRequest>;

export const GrantResponse = Type.Object({
  grant: base64(GRANT_MAX_BYTES),
  digests: Type.Array(DIGEST, { maxItems: GRANT_DIGESTS_MAX }),
  /** With a grant for this agent alone: what it reads the repository with. */
  token: Type.Optional(TOKEN),
});
export type GrantResponse = Static<typeof GrantResponse>;

export const TagRequest = Type.Object({
  namespace: NAME,
  repository: NAME,
  tag: Type.String({ minLength: 1, maxLength: TAG_MAX_CHARS, pattern: TEXT }),
});
export type TagRequest = Static<typeof TagRequest>;

export const TagResponse = Type.Object({ statement: base64(TAG_STATEMENT_MAX_BYTES) });
export type TagResponse = Static<typeof TagResponse>;

/** Numbers of chunks of one blob. */
export const CROSSINGS = Type.Array(Type.Integer({ minimum: 0, maximum: CHUNKS_MAX - 1 }), {
  maxItems: CROSSINGS_WANTED_MAX,
});

export const AnnouncedDownload = Type.Object({
  namespace: NAME,
  repository: NAME,
  digest: DIGEST,
  size: Type.Integer({ minimum: 0, maximum: BLOB_MAX_BYTES }),
  complete: Type.Boolean(),
  /** Bitmap of verified chunks; may be empty when complete or nothing is held. */
  have: base64(BITMAP_MAX_BYTES),
  hubChunksWanted: Type.Integer({ minimum: 0, maximum: HUB_CHUNKS_MAX }),
  /** What the agent reads a repository with that not everybody may read. */
  token: Type.Optional(TOKEN),
  /** Chunks the agent would take from the hub or upstream without a lease; none if left out. */
  bypassWanted: Type.Optional(Type.Integer({ minimum: 0, maximum: HUB_CHUNKS_MAX })),
  /** Chunks the agent would fetch from other zones, first wishes first; none if left out. */
  crossingsWanted: Type.Optional(CROSSINGS),
});
export type AnnouncedDownload = Static<typeof AnnouncedDownload>;

export const AnnounceRequest = Type.Object({
  /** True: the list is all that the agent has, what is not in it may be forgotten. */
  full: Type.Boolean(),
  downloads: Type.Array(AnnouncedDownload, { maxItems: ANNOUNCE_DOWNLOADS_MAX }),
});
export type AnnounceRequest = Static<typeof AnnounceRequest>;

export const AnnounceAnswer = Type.Object({
  digest: DIGEST,
  peers: Type.Array(MEMBERSHIP, { maxItems: ANNOUNCE_PEERS_MAX }),
  hubChunks: Type.Array(Type.Integer({ minimum: 0, maximum: CHUNKS_MAX - 1 }), {
    maxItems: HUB_CHUNKS_MAX,
  }),
  /** How many chunks may be taken without a lease. A hub that leaves it out keeps no budget. */
  bypassChunks: Type.Optional(Type.Integer({ minimum: 0, maximum: HUB_CHUNKS_MAX })),
  /**
   * Those of the wished-for chunks that the agent is to fetch from other zones: nobody else of its
   * zone does. A hub that leaves it out does not know who fetches what.
   */
  crossings: Type.Optional(CROSSINGS),
  retryAfterMs: COUNTER,
});
export type AnnounceAnswer = Static<typeof AnnounceAnswer>;

export const AnnounceResponse = Type.Object({
  intervalMs: COUNTER,
  downloads: Type.Array(AnnounceAnswer, { maxItems: ANNOUNCE_DOWNLOADS_MAX }),
});
export type AnnounceResponse = Static<typeof AnnounceResponse>;

/** Body of every refusal of the fleet API. */
export const FleetErrorBody = Type.Object({
  error: Type.Object({
    code: Type.String({ maxLength: 64 }),
    message: Type.String({ maxLength: 2000 }),
  }),
});
export type FleetErrorBody = Static<typeof FleetErrorBody>;
