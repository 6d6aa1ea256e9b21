import { createHash, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { TrustError } from './errors.ts';

/** Each kind of signed object has keys of its own. */
export type KeyPurpose =
  | 'statement'
  | 'membership'
  | 'grant'
  | 'tag'
  | 'token'
  | 'replica'
  | 'bundle';

export const KEY_PURPOSES: readonly KeyPurpose[] = [
  'statement',
  'membership',
  'grant',
  'tag',
  'token',
  'replica',
  'bundle',
];

/** A private Ed25519 key and what it may sign. */
export type SigningKey = {
  purpose: KeyPurpose;
  /** First 8 bytes of SHA-256 over the raw public key. */
  keyId: Buffer;
  privateKey: KeyObject;
  publicKey: KeyObject;
};

/** Bytes of a raw Ed25519 public key (RFC 8032 section 5.1.5). */
export const PUBLIC_KEY_BYTES = 32;
export const KEY_ID_BYTES = 8;

// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410 section 4).
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** Public key object from its 32 raw bytes. Throws TrustError MALFORMED. */
export function publicKeyFromRaw(raw: Uint8Array): KeyObject {
  if (raw.length !== PUBLIC_KEY_BYTES) {
    throw new TrustError(`an Ed25519 public key has 32 bytes, not ${raw.length}`, {
      code: 'MALFORMED',
    });
  }
  return createPublicKey({
    key: Buffer.concat([SPKI_PREFIX, raw]),
    format: 'der',
    type: 'spki',
  });
}

/** The 32 raw bytes of an Ed25519 public key. Throws TrustError MALFORMED for other key types. */
export function rawPublicKey(key: KeyObject): Buffer {
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new TrustError(`key is ${key.asymmetricKeyType ?? key.type}, not ed25519`, {
      code: 'MALFORMED',
    });
  }
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX.length);
}

/** First 8 bytes of SHA-256 over the raw public key. */
export function keyIdOf(rawPublic: Uint8Array): Buffer {
  return createHash('sha256').update(rawPublic).digest().subarray(0, KEY_ID_BYTES);
}

/** A new random key. */
export function generateSigningKey(purpose: KeyPurpose): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { purpose, keyId: keyIdOf(rawPublicKey(publicKey)), privateKey, publicKey };
}

/** The key with what is derived from it filled in. Throws TrustError MALFORMED. */
export function signingKeyFrom(purpose: KeyPurpose, privateKey: KeyObject): SigningKey {
  const raw = rawPublicKey(privateKey);
  return { purpose, keyId: keyIdOf(raw), privateKey, publicKey: publicKeyFromRaw(raw) };
}

/** Text by which people and join tokens name a root key: hex SHA-256 of the raw public key. */
export function fingerprintOf(rawPublic: Uint8Array): string {
  return createHash('sha256').update(rawPublic).digest('hex');
}
