import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { BLOB_MAX_BYTES, CHUNKS_MAX, layoutOf } from '../chunks/layout.ts';
import { encodeDigest } from '../trust/digest-bytes.ts';
import { GRANT_MAX_BYTES, type GrantBundle } from '../trust/grant.ts';
import { MEMBERSHIP_MAX_BYTES } from '../trust/membership.ts';
import { ChunkBitmap } from './bitmap.ts';
import { FRAME_DIGESTS_MAX, PEERS_MAX } from './constants.ts';
import { badMessage, decodeWire, inRange, wireDigests } from './decode.ts';
import { ResponseSchema, Status, type Response } from './messages_pb.ts';

export type SwarmStatus = 'ok' | 'notFound' | 'noGrant' | 'busy' | 'badRequest' | 'internal';

/** What a peer says it holds of a blob. */
export type Availability = {
  size: number;
  chunkCount: number;
  bitmap: ChunkBitmap;
  complete: boolean;
};

/** A response with every field in range. `bodyBytes` raw bytes follow it on the stream. */
export type SwarmResponse = {
  id: number;
  status: SwarmStatus;
  bodyBytes: number;
  result?:
    | { kind: 'availability'; availability: Availability }
    | { kind: 'grant'; bundle: GrantBundle }
    | { kind: 'peers'; memberships: Buffer[] };
};

type Result = SwarmResponse['result'];
type ResponseResult = NonNullable<MessageInitShape<typeof ResponseSchema>['result']>;

const STATUS_CODES: Record<SwarmStatus, Status> = {
  ok: Status.OK,
  notFound: Status.NOT_FOUND,
  noGrant: Status.NO_GRANT,
  busy: Status.BUSY,
  badRequest: Status.BAD_REQUEST,
  internal: Status.INTERNAL,
};
const STATUSES: readonly SwarmStatus[] = [
  'ok',
  'notFound',
  'noGrant',
  'busy',
  'badRequest',
  'internal',
];

function encodeResult(result: NonNullable<Result>): ResponseResult {
  switch (result.kind) {
    case 'availability': {
      const { size, chunkCount, bitmap, complete } = result.availability;
      const value = { size: BigInt(size), chunkCount, bitmap: bitmap.toBytes(), complete };
      return { case: 'availability', value };
    }
    case 'grant': {
      const { grant, digests } = result.bundle;
      return { case: 'grant', value: { grant, digests: digests.map(encodeDigest) } };
    }
    default:
      return { case: 'peers', value: { memberships: result.memberships } };
  }
}

/** Payload of a response frame. */
export function encodeResponse(response: SwarmResponse): Uint8Array {
  const { id, status, bodyBytes, result } = response;
  const message = create(ResponseSchema, {
    id,
    status: STATUS_CODES[status],
    bodyBytes: BigInt(bodyBytes),
    ...(result === undefined ? {} : { result: encodeResult(result) }),
  });
  return toBinary(ResponseSchema, message);
}

function boundedNumber(value: bigint, max: number, what: string): number {
  if (value > BigInt(max)) throw badMessage(`${what} ${value}, at most ${max}`);
  return Number(value);
}

function decodeResult(result: Response['result']): Result {
  switch (result.case) {
    case 'availability': {
      const { value } = result;
      const size = boundedNumber(value.size, BLOB_MAX_BYTES, 'size');
      const chunkCount = inRange(value.chunkCount, 0, CHUNKS_MAX, 'chunk count');
      if (layoutOf(size).chunkCount !== chunkCount) throw badMessage('chunk count for the size');
      const bitmap = ChunkBitmap.fromBytes(value.bitmap, chunkCount);
      if (value.complete !== bitmap.complete && chunkCount > 0) throw badMessage('complete flag');
      const { complete } = value;
      return { kind: 'availability', availability: { size, chunkCount, bitmap, complete } };
    }
    case 'grant': {
      inRange(result.value.grant.length, 1, GRANT_MAX_BYTES, 'grant length');
      const digests = wireDigests(result.value.digests, FRAME_DIGESTS_MAX);
      return { kind: 'grant', bundle: { grant: Buffer.from(result.value.grant), digests } };
    }
    case 'peers': {
      const { memberships } = result.value;
      inRange(memberships.length, 0, PEERS_MAX, 'number of peers');
      for (const bytes of memberships) inRange(bytes.length, 1, MEMBERSHIP_MAX_BYTES, 'membership');
      return { kind: 'peers', memberships: memberships.map((bytes) => Buffer.from(bytes)) };
    }
    default:
      return undefined;
  }
}

/**
 * Reads the payload of a response frame. `bodyMaxBytes` is what the asker expects at most: a
 * length that the peer claims is never a reason to allocate more.
 * @throws SwarmError BAD_MESSAGE, BAD_BITMAP
 */
export function decodeResponse(bytes: Uint8Array, bodyMaxBytes: number): SwarmResponse {
  const message = decodeWire(ResponseSchema, bytes);
  const status = STATUSES.find((name) => STATUS_CODES[name] === message.status);
  if (status === undefined) throw badMessage(`status ${message.status}`);
  const bodyBytes = boundedNumber(message.bodyBytes, bodyMaxBytes, 'body length');
  const result = decodeResult(message.result);
  const head = { id: message.id, status, bodyBytes };
  return result === undefined ? head : { ...head, result };
}
