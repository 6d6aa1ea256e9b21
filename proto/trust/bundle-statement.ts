import { create, toBinary } from '@bufbuild/protobuf';
import type { Digest } from '../oci/digest.ts';
import { decodeDigest, encodeDigest } from './digest-bytes.ts';
import { decodeMessage, safeNumber, seal, unseal, type EnvelopeKind } from './envelope.ts';
import { TrustError } from './errors.ts';
import type { SigningKey } from './keys.ts';
import { BundlePayloadSchema } from './messages_pb.ts';
import type { TrustStore } from './trust-store.ts';

/** Largest encoded bundle statement in bytes. */
export const BUNDLE_STATEMENT_MAX_BYTES = 1024;

const KIND: EnvelopeKind = {
  tag: 'flotilla/bundle/v1\0',
  purpose: 'bundle',
  maxBytes: BUNDLE_STATEMENT_MAX_BYTES,
};
const FLEET_ID_MAX_CHARS = 255;

/** The hub's word that a bundle is what the list with this digest and size (bytes) says. */
export type BundleStatement = { fleetId: string; digest: Digest; size: number; timeMs: number };

function checkFields({ fleetId, size, timeMs }: BundleStatement): void {
  const named = fleetId.length > 0 && fleetId.length <= FLEET_ID_MAX_CHARS;
  const counted = [size, timeMs].every((value) => Number.isSafeInteger(value) && value >= 0);
  if (named && counted) return;
  throw new TrustError('bundle statement with an invalid field', { code: 'MALFORMED' });
}

/** Signs the list of a bundle. Throws TrustError MALFORMED for invalid fields, WRONG_PURPOSE. */
export function signBundleStatement(
  statement: BundleStatement,
  key: Pick<SigningKey, 'purpose' | 'keyId' | 'privateKey'>,
): Buffer {
  checkFields(statement);
  const payload = create(BundlePayloadSchema, {
    fleetId: statement.fleetId,
    digest: encodeDigest(statement.digest),
    size: BigInt(statement.size),
    timeMs: BigInt(statement.timeMs),
  });
  return seal(KIND, toBinary(BundlePayloadSchema, payload), key);
}

/**
 * Reads such a statement and checks its signature. Its age is not checked: a bundle is carried for
 * as long as it takes.
 * @throws TrustError TOO_LARGE, MALFORMED, UNKNOWN_KEY, REVOKED_KEY, WRONG_PURPOSE, BAD_SIGNATURE
 */
export function verifyBundleStatement(
  bytes: Uint8Array,
  trust: Pick<TrustStore, 'verifyKey'>,
): BundleStatement {
  const payload = decodeMessage(BundlePayloadSchema, unseal(KIND, bytes, trust));
  const digest = decodeDigest(payload.digest);
  if (digest === undefined) {
    throw new TrustError('bundle statement with an invalid digest', { code: 'MALFORMED' });
  }
  const statement = {
    fleetId: payload.fleetId,
    digest,
    size: safeNumber(payload.size, 'bundle size'),
    timeMs: safeNumber(payload.timeMs, 'bundle time'),
  };
  checkFields(statement);
  return statement;
}
