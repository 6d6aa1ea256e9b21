import { sign, verify } from 'node:crypto';
import { digestAlgorithm, digestBytes, digestFromBytes, type Digest } from '../oci/digest.ts';
import { TrustError } from '../trust/errors.ts';
import type { SigningKey } from '../trust/keys.ts';
import type { TrustStore } from '../trust/trust-store.ts';
import { BLOB_MAX_BYTES, layoutOf, UNCHUNKED_MAX_BYTES, type ChunkLayout } from './layout.ts';
import { HASH_BYTES, rootFromChunkHashes } from './merkle.ts';

/** The hub's word that the blob with this digest has this size and this root. It never expires. */
export type ChunkStatement = {
  digest: Digest;
  /** Bytes, always more than UNCHUNKED_MAX_BYTES. */
  size: number;
  root: Buffer;
  /** 8 bytes. */
  keyId: Buffer;
};

const TAG = Buffer.from('flotilla/chunk-root/v1\0', 'latin1');
const KEY_ID_BYTES = 8;
const SIGNATURE_BYTES = 64;
const SIZE_BYTES = 8;
const ALGORITHMS = { sha256: { code: 1, bytes: 32 }, sha512: { code: 2, bytes: 64 } } as const;

/** Longest encoded statement in bytes. */
export const STATEMENT_MAX_BYTES =
  TAG.length + 1 + 64 + SIZE_BYTES + HASH_BYTES + KEY_ID_BYTES + SIGNATURE_BYTES;

function malformed(what: string): TrustError {
  return new TrustError(`chunk statement: ${what}`, { code: 'MALFORMED' });
}

function isChunkedSize(size: number): boolean {
  return Number.isSafeInteger(size) && size > UNCHUNKED_MAX_BYTES && size <= BLOB_MAX_BYTES;
}

/**
 * Encodes and signs: tag | algorithm u8 | blob digest | size u64 big endian | root | key id |
 * Ed25519 signature over all before it.
 * @throws TrustError WRONG_PURPOSE when the key is no statement key
 * @throws RangeError when the size has no chunks or the root is not 32 bytes
 */
export function signStatement(
  statement: Omit<ChunkStatement, 'keyId'>,
  key: Pick<SigningKey, 'purpose' | 'keyId' | 'privateKey'>,
): Buffer {
  if (key.purpose !== 'statement') {
    throw new TrustError(`a ${key.purpose} key may not sign statements`, { code: 'WRONG_PURPOSE' });
  }
  if (!isChunkedSize(statement.size) || statement.root.length !== HASH_BYTES) {
    throw new RangeError(`no statement for size ${statement.size}, root ${statement.root.length}`);
  }
  const size = Buffer.alloc(SIZE_BYTES);
  size.writeBigUInt64BE(BigInt(statement.size));
  const algorithm = ALGORITHMS[digestAlgorithm(statement.digest)];
  const fact = Buffer.concat([
    TAG,
    Buffer.of(algorithm.code),
    digestBytes(statement.digest),
    size,
    statement.root,
    key.keyId,
  ]);
  return Buffer.concat([fact, sign(null, fact, key.privateKey)]);
}

function decodeStatement(bytes: Buffer): ChunkStatement {
  if (!bytes.subarray(0, TAG.length).equals(TAG)) throw malformed('unknown kind or version');
  const code = bytes[TAG.length];
  const name = code === 1 ? 'sha256' : code === 2 ? 'sha512' : undefined;
  if (name === undefined) throw malformed('unknown digest algorithm');
  const digestAt = TAG.length + 1;
  const sizeAt = digestAt + ALGORITHMS[name].bytes;
  const rootAt = sizeAt + SIZE_BYTES;
  const keyAt = rootAt + HASH_BYTES;
  if (bytes.length !== keyAt + KEY_ID_BYTES + SIGNATURE_BYTES) throw malformed('wrong length');
  const size = Number(bytes.readBigUInt64BE(sizeAt));
  if (!isChunkedSize(size)) throw malformed('size out of range');
  return {
    digest: digestFromBytes(name, bytes.subarray(digestAt, sizeAt)),
    size,
    root: Buffer.from(bytes.subarray(rootAt, keyAt)),
    keyId: Buffer.from(bytes.subarray(keyAt, keyAt + KEY_ID_BYTES)),
  };
}

/**
 * Reads a statement and checks that a statement key of the fleet signed it. The caller still
 * compares `digest` with the one it asked for.
 * @throws TrustError MALFORMED, TOO_LARGE, UNKNOWN_KEY, REVOKED_KEY, WRONG_PURPOSE, BAD_SIGNATURE
 */
export function verifyStatement(
  bytes: Uint8Array,
  trust: Pick<TrustStore, 'verifyKey'>,
): ChunkStatement {
  if (bytes.length > STATEMENT_MAX_BYTES) {
    throw new TrustError(`chunk statement of ${bytes.length} bytes`, { code: 'TOO_LARGE' });
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const statement = decodeStatement(buffer);
  const key = trust.verifyKey(statement.keyId, 'statement');
  const signedBytes = buffer.length - SIGNATURE_BYTES;
  if (!verify(null, buffer.subarray(0, signedBytes), key, buffer.subarray(signedBytes))) {
    throw new TrustError('chunk statement: signature does not match', { code: 'BAD_SIGNATURE' });
  }
  return statement;
}

/**
 * Checks an untrusted row of chunk hashes against a verified statement and returns the layout.
 * @throws TrustError HASHES_MISMATCH
 */
export function verifyChunkHashes(
  row: Uint8Array,
  statement: Pick<ChunkStatement, 'size' | 'root'>,
): ChunkLayout {
  const layout = layoutOf(statement.size);
  const rightLength = layout.chunkCount > 0 && row.length === layout.chunkCount * HASH_BYTES;
  if (!rightLength || !rootFromChunkHashes(row, layout).equals(statement.root)) {
    throw new TrustError('chunk hashes do not recompute to the stated root', {
      code: 'HASHES_MISMATCH',
    });
  }
  return layout;
}
