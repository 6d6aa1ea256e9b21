import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { CHUNKS_MAX } from '../chunks/layout.ts';
import { SESSION_BYTES } from '../chunks/provisional.ts';
import type { Digest } from '../oci/digest.ts';
import { encodeDigest } from '../trust/digest-bytes.ts';
import { GRANT_MAX_BYTES, type GrantBundle } from '../trust/grant.ts';
import { FRAME_DIGESTS_MAX, HAVE_WAIT_MAX_MS, PEERS_MAX } from './constants.ts';
import { decodeWire, inRange, wireDigest, wireDigests } from './decode.ts';
import { RequestSchema, type Request } from './messages_pb.ts';

/** Longest namespace or repository name on the wire, in characters. */
const NAME_MAX_CHARS = 255;
/** Longest tag on the wire, in characters. */
const TAG_MAX_CHARS = 128;
const UINT32_MAX = 2 ** 32 - 1;

/** With a session it is about what was checked against leaves of that session. */
type OfSession = { session?: Buffer | undefined };

/** A request with every field in range. */
export type SwarmRequest = { id: number } & (
  | { kind: 'openGrant'; bundle: GrantBundle }
  | ({ kind: 'have'; digest: Digest; knownCount: number; waitMs: number } & OfSession)
  | ({ kind: 'getChunk'; digest: Digest; index: number } & OfSession)
  | { kind: 'getHashes'; digest: Digest }
  | { kind: 'getStatement'; digest: Digest }
  | { kind: 'getBlob'; digest: Digest }
  | { kind: 'getGrant'; namespace: string; repository: string; digest: Digest }
  | { kind: 'getPeers'; limit: number }
  | { kind: 'getTag'; namespace: string; repository: string; tag: string }
  /** Of a later version: it is answered with badRequest. */
  | { kind: 'unknown' }
);

type RequestOp = NonNullable<MessageInitShape<typeof RequestSchema>['op']>;

function opOf(request: SwarmRequest): RequestOp | undefined {
  switch (request.kind) {
    case 'openGrant': {
      const { grant, digests } = request.bundle;
      return { case: 'openGrant', value: { grant, digests: digests.map(encodeDigest) } };
    }
    case 'have': {
      const { knownCount, waitMs } = request;
      const digest = encodeDigest(request.digest);
      return { case: 'have', value: { digest, knownCount, waitMs, ...sessionOf(request) } };
    }
    case 'getChunk': {
      const { index } = request;
      const digest = encodeDigest(request.digest);
      return { case: 'getChunk', value: { digest, index, ...sessionOf(request) } };
    }
    case 'getGrant': {
      const { namespace, repository } = request;
      return {
        case: 'getGrant',
        value: { namespace, repository, digest: encodeDigest(request.digest) },
      };
    }
    case 'getPeers':
      return { case: 'getPeers', value: { limit: request.limit } };
    case 'getTag': {
      const { namespace, repository, tag } = request;
      return { case: 'getTag', value: { namespace, repository, tag } };
    }
    case 'unknown':
      return undefined;
    default:
      return { case: request.kind, value: { digest: encodeDigest(request.digest) } };
  }
}

function sessionOf({ session }: OfSession): { session?: Buffer } {
  return session === undefined ? {} : { session };
}

function wireSession({ session }: { session: Uint8Array }): OfSession {
  if (session.length === 0) return {};
  inRange(session.length, SESSION_BYTES, SESSION_BYTES, 'session length');
  return { session: Buffer.from(session) };
}

/** Payload of a request frame. Throws RangeError (protobuf) when a number is no uint32. */
export function encodeRequest(request: SwarmRequest): Uint8Array {
  const op = opOf(request);
  const message = create(RequestSchema, { id: request.id, ...(op === undefined ? {} : { op }) });
  return toBinary(RequestSchema, message);
}

function name(text: string, max = NAME_MAX_CHARS): string {
  inRange(text.length, 1, max, 'name length');
  return text;
}

function requestOf(id: number, op: Request['op']): SwarmRequest {
  switch (op.case) {
    case 'openGrant': {
      inRange(op.value.grant.length, 1, GRANT_MAX_BYTES, 'grant length');
      const digests = wireDigests(op.value.digests, FRAME_DIGESTS_MAX);
      return { id, kind: 'openGrant', bundle: { grant: Buffer.from(op.value.grant), digests } };
    }
    case 'have': {
      const { knownCount, waitMs } = op.value;
      inRange(knownCount, 0, CHUNKS_MAX, 'known count');
      inRange(waitMs, 0, HAVE_WAIT_MAX_MS, 'wait');
      const digest = wireDigest(op.value.digest);
      return { id, kind: 'have', digest, knownCount, waitMs, ...wireSession(op.value) };
    }
    case 'getChunk': {
      const index = inRange(op.value.index, 0, CHUNKS_MAX - 1, 'chunk index');
      const digest = wireDigest(op.value.digest);
      return { id, kind: 'getChunk', digest, index, ...wireSession(op.value) };
    }
    case 'getHashes':
    case 'getStatement':
    case 'getBlob':
      return { id, kind: op.case, digest: wireDigest(op.value.digest) };
    case 'getGrant': {
      const digest = wireDigest(op.value.digest);
      const { namespace, repository } = op.value;
      return {
        id,
        kind: op.case,
        namespace: name(namespace),
        repository: name(repository),
        digest,
      };
    }
    case 'getPeers':
      return { id, kind: 'getPeers', limit: inRange(op.value.limit, 0, PEERS_MAX, 'limit') };
    case 'getTag': {
      const { namespace, repository, tag } = op.value;
      return {
        id,
        kind: 'getTag',
        namespace: name(namespace),
        repository: name(repository),
        tag: name(tag, TAG_MAX_CHARS),
      };
    }
    default:
      return { id, kind: 'unknown' };
  }
}

/**
 * Reads the payload of a request frame.
 * @throws SwarmError BAD_MESSAGE when it does not decode, or has a digest, index, count or length
 *   out of range
 */
export function decodeRequest(bytes: Uint8Array): SwarmRequest {
  const message = decodeWire(RequestSchema, bytes);
  return requestOf(inRange(message.id, 0, UINT32_MAX, 'request id'), message.op);
}
