import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageShape,
} from '@bufbuild/protobuf';
import { sign, verify, type KeyObject } from 'node:crypto';
import { TrustError } from './errors.ts';
import { KEY_ID_BYTES, type KeyPurpose, type SigningKey } from './keys.ts';
import { SignedSchema } from './messages_pb.ts';
import type { TrustStore } from './trust-store.ts';

const SIGNATURE_BYTES = 64;

/** A kind of signed object: the tag that its signature begins with, who signs, how long at most. */
export type EnvelopeKind = {
  /** Ends with a zero byte, so that no tag is the beginning of another. */
  tag: string;
  purpose: KeyPurpose;
  maxBytes: number;
};

/** An envelope taken apart and not yet believed. */
export type OpenEnvelope = { payload: Uint8Array; keyId: Uint8Array; signature: Uint8Array };

function signedBytes(tag: string, payload: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(tag, 'latin1'), payload]);
}

/**
 * Decodes a protobuf message of untrusted origin.
 * @throws TrustError MALFORMED
 */
export function decodeMessage<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
): MessageShape<D> {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch (cause) {
    throw new TrustError(`not a ${schema.name} message`, { code: 'MALFORMED' }, { cause });
  }
}

/** Wraps a payload under any key; the caller answers for purpose and size. */
export function sealWith(
  tag: string,
  payload: Uint8Array,
  key: Pick<SigningKey, 'keyId' | 'privateKey'>,
): Buffer {
  const signature = sign(null, signedBytes(tag, payload), key.privateKey);
  const signed = create(SignedSchema, { payload, keyId: key.keyId, signature });
  return Buffer.from(toBinary(SignedSchema, signed));
}

/**
 * Signs a payload.
 * @throws TrustError WRONG_PURPOSE for a key of another purpose, TOO_LARGE
 */
export function seal(
  kind: EnvelopeKind,
  payload: Uint8Array,
  key: Pick<SigningKey, 'purpose' | 'keyId' | 'privateKey'>,
): Buffer {
  if (key.purpose !== kind.purpose) {
    throw new TrustError(`a ${key.purpose} key may not sign a ${kind.purpose}`, {
      code: 'WRONG_PURPOSE',
    });
  }
  const sealed = sealWith(kind.tag, payload, key);
  if (sealed.length > kind.maxBytes) {
    throw new TrustError(`${kind.purpose} of ${sealed.length} bytes, at most ${kind.maxBytes}`, {
      code: 'TOO_LARGE',
    });
  }
  return sealed;
}

/**
 * Takes an envelope apart without believing it.
 * @throws TrustError TOO_LARGE, MALFORMED
 */
export function openUnverified(bytes: Uint8Array, maxBytes: number): OpenEnvelope {
  if (bytes.length > maxBytes) {
    throw new TrustError(`signed object of ${bytes.length} bytes, at most ${maxBytes}`, {
      code: 'TOO_LARGE',
    });
  }
  const signed = decodeMessage(SignedSchema, bytes);
  // One object has one encoding, so that nobody can multiply it by rewriting what is not signed.
  if (Buffer.compare(toBinary(SignedSchema, signed), bytes) !== 0) {
    throw new TrustError('signed object in another encoding than ours', { code: 'MALFORMED' });
  }
  const { payload, keyId, signature } = signed;
  if (keyId.length !== KEY_ID_BYTES || signature.length !== SIGNATURE_BYTES) {
    throw new TrustError('signed object without key id or signature', { code: 'MALFORMED' });
  }
  return { payload, keyId, signature };
}

/** Throws TrustError BAD_SIGNATURE unless the key signed this payload under this tag. */
export function checkSignature(tag: string, envelope: OpenEnvelope, key: KeyObject): void {
  const { payload, signature } = envelope;
  if (!verify(null, signedBytes(tag, payload), key, signature)) {
    throw new TrustError('signature does not match', { code: 'BAD_SIGNATURE' });
  }
}

/**
 * The payload of an envelope that a fleet key of the right purpose signed.
 * @throws TrustError TOO_LARGE, MALFORMED, UNKNOWN_KEY, REVOKED_KEY, WRONG_PURPOSE, BAD_SIGNATURE
 */
export function unseal(
  kind: EnvelopeKind,
  bytes: Uint8Array,
  trust: Pick<TrustStore, 'verifyKey'>,
): Uint8Array {
  const envelope = openUnverified(bytes, kind.maxBytes);
  checkSignature(kind.tag, envelope, trust.verifyKey(envelope.keyId, kind.purpose));
  return envelope.payload;
}

/**
 * A protobuf uint64 as a number.
 * @throws TrustError MALFORMED beyond 2^53 - 1
 */
export function safeNumber(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new TrustError(`${what} is out of range`, { code: 'MALFORMED' });
  }
  return Number(value);
}
