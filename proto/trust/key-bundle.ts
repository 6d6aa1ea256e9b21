import { create, toBinary } from '@bufbuild/protobuf';
import { checkSignature, decodeMessage, openUnverified, safeNumber, sealWith } from './envelope.ts';
import { TrustError } from './errors.ts';
import {
  fingerprintOf,
  KEY_PURPOSES,
  keyIdOf,
  PUBLIC_KEY_BYTES,
  publicKeyFromRaw,
  type KeyPurpose,
  type SigningKey,
} from './keys.ts';
import { CertifiedKeySchema, KeyBundleSchema, KeyState, Purpose } from './messages_pb.ts';

/** Most keys, of every purpose and state, that a fleet's bundle may certify. */
export const BUNDLE_KEYS_MAX = 64;
/** Largest encoded bundle in bytes. */
export const BUNDLE_MAX_BYTES = 16_384;

const TAG = 'flotilla/key-bundle/v1\0';

export type CertifiedKeyState = 'active' | 'retired' | 'revoked';

export type CertifiedKey = {
  purpose: KeyPurpose;
  /** Raw, 32 bytes. */
  publicKey: Buffer;
  state: CertifiedKeyState;
};

/** Every key that speaks for the fleet, as its root key certified them. */
export type KeyBundle = {
  serial: number;
  rootPublicKey: Buffer;
  keys: CertifiedKey[];
  issuedAtMs: number;
};

const PURPOSE_CODES: Record<KeyPurpose, Purpose> = {
  statement: Purpose.STATEMENT,
  membership: Purpose.MEMBERSHIP,
  grant: Purpose.GRANT,
  tag: Purpose.TAG,
  token: Purpose.TOKEN,
  bundle: Purpose.BUNDLE,
  replica: Purpose.REPLICA,
};

const STATE_CODES: Record<CertifiedKeyState, KeyState> = {
  active: KeyState.ACTIVE,
  retired: KeyState.RETIRED,
  revoked: KeyState.REVOKED,
};

const STATES: readonly CertifiedKeyState[] = ['active', 'retired', 'revoked'];

/** Encodes a bundle and signs it with the root key. Throws RangeError beyond BUNDLE_KEYS_MAX. */
export function signBundle(
  bundle: KeyBundle,
  root: Pick<SigningKey, 'keyId' | 'privateKey'>,
): Buffer {
  if (bundle.keys.length > BUNDLE_KEYS_MAX) {
    throw new RangeError(`a bundle holds at most ${BUNDLE_KEYS_MAX} keys`);
  }
  const payload = create(KeyBundleSchema, {
    serial: BigInt(bundle.serial),
    rootPublicKey: bundle.rootPublicKey,
    issuedAtMs: BigInt(bundle.issuedAtMs),
    keys: bundle.keys.map((key) =>
      create(CertifiedKeySchema, {
        purpose: PURPOSE_CODES[key.purpose],
        publicKey: key.publicKey,
        state: STATE_CODES[key.state],
      }),
    ),
  });
  return sealWith(TAG, toBinary(KeyBundleSchema, payload), root);
}

/**
 * Verifies a bundle against the fingerprint of the fleet's root key. Keys of purposes or states
 * that this version does not know are left out, so that a newer hub can add some.
 * @throws TrustError TOO_LARGE, MALFORMED, UNKNOWN_KEY (another root), BAD_SIGNATURE
 */
export function verifyBundle(bytes: Uint8Array, rootFingerprint: string): KeyBundle {
  const envelope = openUnverified(bytes, BUNDLE_MAX_BYTES);
  const message = decodeMessage(KeyBundleSchema, envelope.payload);
  if (message.rootPublicKey.length !== PUBLIC_KEY_BYTES) {
    throw new TrustError('key bundle without root key', { code: 'MALFORMED' });
  }
  if (fingerprintOf(message.rootPublicKey) !== rootFingerprint) {
    throw new TrustError('key bundle is of another fleet root than the join token names', {
      code: 'UNKNOWN_KEY',
    });
  }
  if (!keyIdOf(message.rootPublicKey).equals(envelope.keyId)) {
    throw new TrustError('key bundle is not signed by the root key', { code: 'UNKNOWN_KEY' });
  }
  checkSignature(TAG, envelope, publicKeyFromRaw(message.rootPublicKey));
  if (message.keys.length > BUNDLE_KEYS_MAX) {
    throw new TrustError(`key bundle with ${message.keys.length} keys`, { code: 'TOO_LARGE' });
  }
  const keys: CertifiedKey[] = [];
  for (const key of message.keys) {
    const purpose = KEY_PURPOSES.find((name) => PURPOSE_CODES[name] === key.purpose);
    const state = STATES.find((name) => STATE_CODES[name] === key.state);
    if (key.publicKey.length !== PUBLIC_KEY_BYTES) {
      throw new TrustError('key bundle with a key of wrong length', { code: 'MALFORMED' });
    }
    if (purpose !== undefined && state !== undefined) {
      keys.push({ purpose, publicKey: Buffer.from(key.publicKey), state });
    }
  }
  return {
    serial: safeNumber(message.serial, 'bundle serial'),
    rootPublicKey: Buffer.from(message.rootPublicKey),
    keys,
    issuedAtMs: safeNumber(message.issuedAtMs, 'bundle time'),
  };
}
