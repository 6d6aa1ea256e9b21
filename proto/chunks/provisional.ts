import { sign, verify } from 'node:crypto';
import { digestAlgorithm, digestBytes, digestFromBytes, type Digest } from '../oci/digest.ts';
import { TrustError } from '../trust/errors.ts';
import type { SigningKey } from '../trust/keys.ts';
import type { TrustStore } from '../trust/trust-store.ts';
import { BLOB_MAX_BYTES, layoutOf, UNCHUNKED_MAX_BYTES } from './layout.ts';
import { HASH_BYTES } from './merkle.ts';

/** `running`: more is to come. `revoked`: the bytes of the session have another digest. */
export type ProvisionalState = 'running' | 'stored' | 'revoked';
/** Who may have bytes of the session: every reader, or none before the blob is stored. */
export type ProvisionalRelease = 'readers' | 'swarm-only';

/**
 * The hub's word about a blob that it is still fetching: these are the leaves that have come in one
 * try. Whether they are the blob is not known before its last byte.
 */
export type ProvisionalBatch = {
  /** 16 bytes; leaves of two sessions say nothing about each other. */
  session: Buffer;
  digest: Digest;
  /** Bytes of the whole, always more than UNCHUNKED_MAX_BYTES. */
  size: number;
  state: ProvisionalState;
  release: ProvisionalRelease;
  /** Index of the first leaf of the batch. */
  first: number;
  /** Packed hashes of consecutive leaves, at most BATCH_LEAVES_MAX; may be none. */
  leaves: Buffer;
  /** 8 bytes. */
  keyId: Buffer;
};

/** Most leaves of one batch: 128 KiB of hashes, for 4 GiB of content. */
export const BATCH_LEAVES_MAX = 4_096;
/** Bytes of the name of a session. */
export const SESSION_BYTES = 16;

/**
 * Header of a request for bytes of a blob by one who checks them against batches: it gets them
 * while the blob is still being fetched, whoever else may.
 */
export const PROVISIONAL_HEADER = 'flotilla-provisional';

const TAG = Buffer.from('flotilla/provisional/v1\0', 'latin1');
const KEY_ID_BYTES = 8;
const SIGNATURE_BYTES = 64;
const ALGORITHMS = { sha256: { code: 1, bytes: 32 }, sha512: { code: 2, bytes: 64 } } as const;
const STATES: readonly ProvisionalState[] = ['running', 'stored', 'revoked'];
const RELEASES: readonly ProvisionalRelease[] = ['readers', 'swarm-only'];
const CODES_BYTES = 3;
const SIZE_BYTES = 8;
const FIRST_BYTES = 4;

/** Longest encoded batch in bytes. */
export const BATCH_MAX_BYTES =
  TAG.length +
  CODES_BYTES +
  64 +
  SESSION_BYTES +
  SIZE_BYTES +
  FIRST_BYTES +
  BATCH_LEAVES_MAX * HASH_BYTES +
  KEY_ID_BYTES +
  SIGNATURE_BYTES;

function malformed(what: string): TrustError {
  return new TrustError(`provisional batch: ${what}`, { code: 'MALFORMED' });
}

function isChunkedSize(size: number): boolean {
  return Number.isSafeInteger(size) && size > UNCHUNKED_MAX_BYTES && size <= BLOB_MAX_BYTES;
}

/** Whether the leaves are so many, whole ones, and all of a blob of that size. */
function hasLeaves(size: number, first: number, leaves: Uint8Array): boolean {
  const count = leaves.length / HASH_BYTES;
  if (!Number.isInteger(count) || count > BATCH_LEAVES_MAX) return false;
  return Number.isInteger(first) && first >= 0 && first + count <= layoutOf(size).leafCount;
}

/**
 * Encodes and signs: tag | state u8 | release u8 | algorithm u8 | blob digest | session | size u64
 * | first leaf u32, both big endian | leaf hashes | key id | Ed25519 signature over all before it.
 * @throws TrustError WRONG_PURPOSE when the key is no statement key
 * @throws RangeError when the size has no chunks, or session or leaves do not fit
 */
export function signBatch(
  batch: Omit<ProvisionalBatch, 'keyId'>,
  key: Pick<SigningKey, 'purpose' | 'keyId' | 'privateKey'>,
): Buffer {
  if (key.purpose !== 'statement') {
    throw new TrustError(`a ${key.purpose} key may not sign batches`, { code: 'WRONG_PURPOSE' });
  }
  const { size, first, leaves, session } = batch;
  if (!isChunkedSize(size) || session.length !== SESSION_BYTES || !hasLeaves(size, first, leaves)) {
    throw new RangeError(`no batch of ${leaves.length} bytes from leaf ${first}, size ${size}`);
  }
  const numbers = Buffer.alloc(SIZE_BYTES + FIRST_BYTES);
  numbers.writeBigUInt64BE(BigInt(size));
  numbers.writeUInt32BE(first, SIZE_BYTES);
  const fact = Buffer.concat([
    TAG,
    Buffer.of(
      STATES.indexOf(batch.state),
      RELEASES.indexOf(batch.release),
      ALGORITHMS[digestAlgorithm(batch.digest)].code,
    ),
    digestBytes(batch.digest),
    session,
    numbers,
    leaves,
    key.keyId,
  ]);
  return Buffer.concat([fact, sign(null, fact, key.privateKey)]);
}

function decodeBatch(bytes: Buffer): ProvisionalBatch {
  if (!bytes.subarray(0, TAG.length).equals(TAG)) throw malformed('unknown kind or version');
  const at = TAG.length;
  const state = STATES[bytes[at] ?? STATES.length];
  const release = RELEASES[bytes[at + 1] ?? RELEASES.length];
  const code = bytes[at + 2];
  const name = code === 1 ? 'sha256' : code === 2 ? 'sha512' : undefined;
  if (state === undefined || release === undefined || name === undefined) {
    throw malformed('unknown state, release or digest algorithm');
  }
  const digestAt = at + CODES_BYTES;
  const sessionAt = digestAt + ALGORITHMS[name].bytes;
  const sizeAt = sessionAt + SESSION_BYTES;
  const leavesAt = sizeAt + SIZE_BYTES + FIRST_BYTES;
  const keyAt = bytes.length - SIGNATURE_BYTES - KEY_ID_BYTES;
  if (keyAt < leavesAt) throw malformed('too short');
  const size = Number(bytes.readBigUInt64BE(sizeAt));
  if (!isChunkedSize(size)) throw malformed('size out of range');
  const first = bytes.readUInt32BE(sizeAt + SIZE_BYTES);
  const leaves = Buffer.from(bytes.subarray(leavesAt, keyAt));
  if (!hasLeaves(size, first, leaves)) throw malformed('leaves that the blob does not have');
  return {
    session: Buffer.from(bytes.subarray(sessionAt, sizeAt)),
    digest: digestFromBytes(name, bytes.subarray(digestAt, sessionAt)),
    size,
    state,
    release,
    first,
    leaves,
    keyId: Buffer.from(bytes.subarray(keyAt, keyAt + KEY_ID_BYTES)),
  };
}

/**
 * Reads a batch and checks that a statement key of the fleet signed it. The caller still compares
 * `digest`, and `session` with those of other batches.
 * @throws TrustError MALFORMED, TOO_LARGE, UNKNOWN_KEY, REVOKED_KEY, WRONG_PURPOSE, BAD_SIGNATURE
 */
export function verifyBatch(
  bytes: Uint8Array,
  trust: Pick<TrustStore, 'verifyKey'>,
): ProvisionalBatch {
  if (bytes.length > BATCH_MAX_BYTES) {
    throw new TrustError(`provisional batch of ${bytes.length} bytes`, { code: 'TOO_LARGE' });
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const batch = decodeBatch(buffer);
  const key = trust.verifyKey(batch.keyId, 'statement');
  const signedBytes = buffer.length - SIGNATURE_BYTES;
  if (!verify(null, buffer.subarray(0, signedBytes), key, buffer.subarray(signedBytes))) {
    throw new TrustError('provisional batch: signature does not match', { code: 'BAD_SIGNATURE' });
  }
  return batch;
}
