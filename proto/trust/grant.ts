import { create, toBinary } from '@bufbuild/protobuf';
import { createHash } from 'node:crypto';
import { isDigest, type Digest } from '../oci/digest.ts';
import { decodeDigest, encodeDigest } from './digest-bytes.ts';
import {
  decodeMessage,
  openUnverified,
  safeNumber,
  seal,
  unseal,
  type EnvelopeKind,
} from './envelope.ts';
import { TrustError } from './errors.ts';
import type { SigningKey } from './keys.ts';
import { GrantPayloadSchema } from './messages_pb.ts';
import { isPeerId } from './peer-id.ts';
import type { TrustStore } from './trust-store.ts';
import { checkValidity } from './validity.ts';

/** Namespace of what the hub itself hosts; an upstream's is its host name. */
export const HUB_NAMESPACE = 'hub';
/** Longest life of a grant in ms. */
export const GRANT_MAX_MS = 30 * 60_000;
/** Most digests one grant may reach. */
export const GRANT_DIGESTS_MAX = 10_000;
/** Largest encoded grant in bytes (its list of digests travels beside it). */
export const GRANT_MAX_BYTES = 4096;

const KIND: EnvelopeKind = {
  tag: 'flotilla/grant/v1\0',
  purpose: 'grant',
  maxBytes: GRANT_MAX_BYTES,
};
const CONTENT_HASH_BYTES = 32;
const NAME_MAX_CHARS = 255;

/** The hub's word that it saw the right to a manifest and to what the manifest references. */
export type Grant = {
  fleetId: string;
  /** '' for public content: every member may use it. */
  peerId: string;
  namespace: string;
  repository: string;
  manifestDigest: Digest;
  /** Hash of the list of digests, see grantContentHash. */
  contentHash: Buffer;
  issuedAtMs: number;
  notAfterMs: number;
};

/** A grant with the list its content hash stands for. The manifest itself is not in the list. */
export type GrantBundle = {
  grant: Buffer;
  digests: Digest[];
  /** Of a grant for one node: only who shows the right himself is served with it. */
  isPrivate?: boolean;
  /** With a grant for one node: what the node reads the repository at the hub with. */
  token?: string;
};

/** SHA-256 over the sorted, distinct digests, each as text with a line feed after it. */
export function grantContentHash(digests: readonly Digest[]): Buffer {
  const hash = createHash('sha256');
  for (const digest of [...new Set(digests)].sort()) hash.update(`${digest}\n`);
  return hash.digest();
}

function problemOf(grant: Grant): string | undefined {
  const names = [grant.fleetId, grant.namespace, grant.repository];
  if (names.some((name) => name.length === 0 || name.length > NAME_MAX_CHARS)) return 'name';
  if (grant.peerId !== '' && !isPeerId(grant.peerId)) return 'peer id';
  if (!isDigest(grant.manifestDigest)) return 'manifest digest';
  if (grant.contentHash.length !== CONTENT_HASH_BYTES) return 'content hash';
  const lifeMs = grant.notAfterMs - grant.issuedAtMs;
  if (!(lifeMs > 0 && lifeMs <= GRANT_MAX_MS)) return 'time window';
  return undefined;
}

function checkFields(grant: Grant): void {
  const problem = problemOf(grant);
  if (problem !== undefined) {
    throw new TrustError(`grant with invalid ${problem}`, { code: 'MALFORMED' });
  }
}

/** Signs a grant. Throws TrustError MALFORMED for invalid fields, WRONG_PURPOSE, TOO_LARGE. */
export function signGrant(
  grant: Grant,
  key: Pick<SigningKey, 'purpose' | 'keyId' | 'privateKey'>,
): Buffer {
  checkFields(grant);
  const payload = create(GrantPayloadSchema, {
    ...grant,
    manifestDigest: encodeDigest(grant.manifestDigest),
    issuedAtMs: BigInt(grant.issuedAtMs),
    notAfterMs: BigInt(grant.notAfterMs),
  });
  return seal(KIND, toBinary(GrantPayloadSchema, payload), key);
}

/**
 * Reads a grant and checks signature, list, fleet, time and audience: `options.peerId` is the peer
 * that presents it. The right covers `manifestDigest` and every one of `digests`.
 * @throws TrustError TOO_LARGE, MALFORMED, UNKNOWN_KEY, REVOKED_KEY, WRONG_PURPOSE, BAD_SIGNATURE,
 *   WRONG_FLEET, WRONG_AUDIENCE, NOT_YET_VALID, EXPIRED, HASHES_MISMATCH
 */
export function verifyGrant(
  bytes: Uint8Array,
  digests: readonly Digest[],
  trust: Pick<TrustStore, 'verifyKey'>,
  options: { nowMs: number; graceMs?: number; fleetId: string; peerId: string },
): Grant {
  if (digests.length > GRANT_DIGESTS_MAX) {
    throw new TrustError(`grant over ${digests.length} digests, at most ${GRANT_DIGESTS_MAX}`, {
      code: 'TOO_LARGE',
    });
  }
  const payload = decodeMessage(GrantPayloadSchema, unseal(KIND, bytes, trust));
  const manifestDigest = decodeDigest(payload.manifestDigest);
  if (manifestDigest === undefined) {
    throw new TrustError('grant with invalid manifest digest', { code: 'MALFORMED' });
  }
  const grant: Grant = {
    fleetId: payload.fleetId,
    peerId: payload.peerId,
    namespace: payload.namespace,
    repository: payload.repository,
    manifestDigest,
    contentHash: Buffer.from(payload.contentHash),
    issuedAtMs: safeNumber(payload.issuedAtMs, 'grant start'),
    notAfterMs: safeNumber(payload.notAfterMs, 'grant end'),
  };
  checkFields(grant);
  if (grant.fleetId !== options.fleetId) {
    throw new TrustError(`grant of fleet ${grant.fleetId}, not ${options.fleetId}`, {
      code: 'WRONG_FLEET',
    });
  }
  if (grant.peerId !== '' && grant.peerId !== options.peerId) {
    throw new TrustError('grant belongs to another peer', { code: 'WRONG_AUDIENCE' });
  }
  const window = { notBeforeMs: grant.issuedAtMs, notAfterMs: grant.notAfterMs };
  checkValidity(`grant for ${grant.namespace}/${grant.repository}`, window, options);
  if (!grantContentHash(digests).equals(grant.contentHash)) {
    throw new TrustError('grant is for another list of digests', { code: 'HASHES_MISMATCH' });
  }
  return grant;
}

/** Whether the key of a grant that was verified before still counts. */
export function grantKeyHolds(bytes: Uint8Array, trust: Pick<TrustStore, 'verifyKey'>): boolean {
  try {
    trust.verifyKey(openUnverified(bytes, KIND.maxBytes).keyId, KIND.purpose);
    return true;
  } catch (err) {
    if (err instanceof TrustError) return false;
    throw err;
  }
}
