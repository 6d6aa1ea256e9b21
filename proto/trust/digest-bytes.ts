import { digestAlgorithm, digestBytes, digestFromBytes, type Digest } from '../oci/digest.ts';

const SHA256 = { code: 1, bytes: 32 } as const;
const SHA512 = { code: 2, bytes: 64 } as const;

/** Binary form of a digest in every message: algorithm byte (1 sha256, 2 sha512), then the hash. */
export function encodeDigest(digest: Digest): Buffer {
  const { code } = digestAlgorithm(digest) === 'sha256' ? SHA256 : SHA512;
  return Buffer.concat([Buffer.of(code), digestBytes(digest)]);
}

/** Inverse of encodeDigest; undefined for an unknown algorithm or a wrong length. */
export function decodeDigest(bytes: Uint8Array): Digest | undefined {
  const hash = bytes.subarray(1);
  if (bytes[0] === SHA256.code && hash.length === SHA256.bytes) {
    return digestFromBytes('sha256', hash);
  }
  if (bytes[0] === SHA512.code && hash.length === SHA512.bytes) {
    return digestFromBytes('sha512', hash);
  }
  return undefined;
}
