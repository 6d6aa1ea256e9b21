import { Type, type Static } from 'typebox';
import { BLOB_MAX_BYTES, CHUNKS_MAX, layoutOf } from '../../proto/chunks/layout.ts';
import {
  ANNOUNCE_DOWNLOADS_MAX,
  ANNOUNCE_PEERS_MAX,
  HUB_CHUNKS_MAX,
} from '../../proto/hubapi/constants.ts';
import { CROSSINGS } from '../../proto/hubapi/schemas.ts';
import { parseDigest } from '../../proto/oci/digest.ts';
import { REPOSITORY_MAX_CHARS } from '../../proto/oci/name.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import type { AnnouncedBlob, BlobAnswer } from '../fleet/tracker.ts';
import { ReplicaError } from './errors.ts';

// Unknown properties are allowed: hubs of version N and N - 1 run side by side.

const PEER = Type.String({ minLength: 1, maxLength: 64 });
const DIGEST = Type.String({ pattern: '^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' });
const CERTIFICATE = Type.String({ maxLength: 8192, pattern: '^[A-Za-z0-9+/]*={0,2}$' });
const COUNT = Type.Integer({ minimum: 0, maximum: HUB_CHUNKS_MAX });
const DURATION = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const EPOCH = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

const ForwardedBlob = Type.Object({
  digest: DIGEST,
  size: Type.Integer({ minimum: 0, maximum: BLOB_MAX_BYTES }),
  /** Bitmap in base64; left out by a member that holds all. */
  have: Type.Optional(Type.String({ maxLength: CHUNKS_MAX })),
  hubChunksWanted: COUNT,
  bypassWanted: COUNT,
  /** Left out by a hub that does not know of crossings. */
  crossingsWanted: Type.Optional(CROSSINGS),
  leasable: Type.Boolean(),
  repository: Type.Optional(Type.String({ maxLength: REPOSITORY_MAX_CHARS })),
  /** Of a blob on its way to the hub that passes this on. */
  ready: Type.Optional(Type.Integer({ minimum: 0, maximum: CHUNKS_MAX })),
});

/** An announcement of a member, checked by the hub that got it, and what is for another hub. */
export const ForwardRequest = Type.Object({
  /** Of the view by which the sender chose the owner. */
  epoch: EPOCH,
  member: Type.Object({
    peerId: PEER,
    zone: Type.String({ maxLength: 63 }),
    certificate: CERTIFICATE,
  }),
  full: Type.Boolean(),
  blobs: Type.Array(ForwardedBlob, { maxItems: ANNOUNCE_DOWNLOADS_MAX }),
});
export type ForwardRequest = Static<typeof ForwardRequest>;

const ForwardedAnswer = Type.Object({
  digest: DIGEST,
  peers: Type.Array(PEER, { maxItems: ANNOUNCE_PEERS_MAX }),
  hubChunks: Type.Array(Type.Integer({ minimum: 0, maximum: CHUNKS_MAX - 1 }), {
    maxItems: HUB_CHUNKS_MAX,
  }),
  bypassChunks: COUNT,
  /** Left out when nobody knows who fetches what, and by a hub that does not know of crossings. */
  crossings: Type.Optional(CROSSINGS),
  retryAfterMs: DURATION,
});

export const ForwardResponse = Type.Object({
  epoch: EPOCH,
  intervalMs: DURATION,
  blobs: Type.Array(ForwardedAnswer, { maxItems: ANNOUNCE_DOWNLOADS_MAX }),
  /** Of the peers in the answers. */
  certificates: Type.Record(PEER, CERTIFICATE),
  /** Digests that the hub does not own. */
  refused: Type.Array(DIGEST, { maxItems: ANNOUNCE_DOWNLOADS_MAX }),
});
export type ForwardResponse = Static<typeof ForwardResponse>;

export function forwardedOf(blob: AnnouncedBlob): Static<typeof ForwardedBlob> {
  const { have, ready, repository, crossingsWanted, ...fields } = blob;
  return {
    ...fields,
    crossingsWanted: [...crossingsWanted],
    ...(repository === undefined ? {} : { repository }),
    ...(ready === undefined ? {} : { ready }),
    ...(have === undefined ? {} : { have: have.toBytes().toString('base64') }),
  };
}

/** Throws ReplicaError INVALID_BODY for a bitmap that does not fit. */
export function announcedOf({ have, ...rest }: Static<typeof ForwardedBlob>): AnnouncedBlob {
  const fields = { ...rest, crossingsWanted: rest.crossingsWanted ?? [] };
  const digest = parseDigest(fields.digest);
  if (have === undefined) return { ...fields, digest, have: undefined };
  const { chunkCount } = layoutOf(fields.size);
  try {
    const bitmap = ChunkBitmap.fromBytes(Buffer.from(have, 'base64'), chunkCount);
    return { ...fields, digest, have: bitmap };
  } catch (cause) {
    if (!hasCode(cause, 'BAD_BITMAP')) throw cause;
    throw new ReplicaError('INVALID_BODY', `the bitmap of ${digest} is of another size`, { cause });
  }
}

export function answeredOf(answer: Static<typeof ForwardedAnswer>): BlobAnswer {
  return { ...answer, digest: parseDigest(answer.digest) };
}
