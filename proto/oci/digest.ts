import { hash } from 'node:crypto';
import { ociError } from './errors.ts';

declare const DIGEST: unique symbol;

export type DigestAlgorithm = 'sha256' | 'sha512';

/** `sha256:<64 hex>` or `sha512:<128 hex>`, lower case. */
export type Digest = string & { readonly [DIGEST]: true };

const PATTERN = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
const BYTES = { sha256: 32, sha512: 64 } as const;

/** True for the text of a digest of a supported algorithm. */
export function isDigest(text: string): text is Digest {
  return PATTERN.test(text);
}

/** True for the name of a supported algorithm. */
export function isDigestAlgorithm(text: string): text is DigestAlgorithm {
  return Object.hasOwn(BYTES, text);
}

/** The text as a digest. @throws OciError DIGEST_INVALID */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw ociError('DIGEST_INVALID', 'digest is not sha256:<64 hex> or sha512:<128 hex>');
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512';
}

/** The hash in lower-case hex. */
export function digestHex(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/** The raw hash. */
export function digestBytes(digest: Digest): Buffer {
  return Buffer.from(digestHex(digest), 'hex');
}

/** Hashes bytes. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return digestFromBytes(algorithm, hash(algorithm, bytes, 'buffer'));
}

/** The digest with this raw hash. @throws OciError DIGEST_INVALID on a wrong length */
export function digestFromBytes(algorithm: DigestAlgorithm, bytes: Uint8Array): Digest {
  if (bytes.length !== BYTES[algorithm]) {
    const message = `a ${algorithm} hash has ${BYTES[algorithm]} bytes, not ${bytes.length}`;
    throw ociError('DIGEST_INVALID', message);
  }
  return parseDigest(`${algorithm}:${Buffer.from(bytes).toString('hex')}`);
}
