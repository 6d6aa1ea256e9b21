import { createHash, hash } from 'node:crypto';
import { LEAF_BYTES, type ChunkLayout } from './layout.ts';

/** Bytes of every hash in the tree. Rows of hashes are packed into one Buffer. */
export const HASH_BYTES = 32;

export const LEAF_PREFIX: Buffer = Buffer.of(0x00);
const NODE_PREFIX = 0x01;

function digest(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}

/** SHA-256(0x00 | bytes): a leaf of the tree of RFC 6962 section 2.1. */
export function leafHash(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(LEAF_PREFIX).update(bytes).digest();
}

/** SHA-256(0x01 | left | right): an inner node of the tree of RFC 6962 section 2.1. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  const input = Buffer.allocUnsafe(1 + left.length + right.length);
  input[0] = NODE_PREFIX;
  input.set(left, 1);
  input.set(right, 1 + left.length);
  return digest(input);
}

/** Number of hashes in a packed row; throws RangeError when the row is not a whole number. */
function countHashes(row: Uint8Array): number {
  if (row.length % HASH_BYTES !== 0) {
    throw new RangeError(`a row of ${row.length} bytes is no whole number of hashes`);
  }
  return row.length / HASH_BYTES;
}

/**
 * Root over a packed row of leaf hashes (or of the hashes of equal aligned subtrees). The root of
 * no leaves is SHA-256 of nothing, as in RFC 6962.
 * @throws RangeError when the length is no multiple of 32
 */
export function merkleRoot(leaves: Uint8Array): Buffer {
  let count = countHashes(leaves);
  if (count === 0) return digest(new Uint8Array());
  const row = Buffer.from(leaves);
  const input = Buffer.allocUnsafe(1 + 2 * HASH_BYTES);
  input[0] = NODE_PREFIX;
  // A level is folded into the front of the row. An odd last node moves up unchanged, which gives
  // the same tree as the RFC's split at the largest power of two.
  while (count > 1) {
    const pairs = count >> 1;
    for (let i = 0; i < pairs; i++) {
      row.copy(input, 1, 2 * i * HASH_BYTES, 2 * (i + 1) * HASH_BYTES);
      digest(input).copy(row, i * HASH_BYTES);
    }
    if (count % 2 === 1) row.copy(row, pairs * HASH_BYTES, (count - 1) * HASH_BYTES);
    count = pairs + (count % 2);
  }
  return Buffer.from(row.subarray(0, HASH_BYTES));
}

/** Hash of a chunk's bytes: the root of the subtree over its leaves of 1 MiB. */
export function chunkHash(bytes: Uint8Array): Buffer {
  if (bytes.length <= LEAF_BYTES) return leafHash(bytes);
  const count = Math.ceil(bytes.length / LEAF_BYTES);
  const leaves = Buffer.allocUnsafe(count * HASH_BYTES);
  for (let i = 0; i < count; i++) {
    leafHash(bytes.subarray(i * LEAF_BYTES, (i + 1) * LEAF_BYTES)).copy(leaves, i * HASH_BYTES);
  }
  return merkleRoot(leaves);
}

/**
 * Folds the leaves of a blob into its row of chunk hashes; empty when the blob is not chunked.
 * @throws RangeError when the number of leaves does not belong to the layout
 */
export function chunkHashesFromLeaves(leaves: Uint8Array, layout: ChunkLayout): Buffer {
  const count = countHashes(leaves);
  if (count !== layout.leafCount) {
    throw new RangeError(`${count} leaves given, a blob of ${layout.size} bytes has other`);
  }
  const row = Buffer.allocUnsafe(layout.chunkCount * HASH_BYTES);
  const step = layout.leavesPerChunk * HASH_BYTES;
  for (let i = 0; i < layout.chunkCount; i++) {
    merkleRoot(leaves.subarray(i * step, (i + 1) * step)).copy(row, i * HASH_BYTES);
  }
  return row;
}

/**
 * Root of the blob, recomputed from its row of chunk hashes: equal to the root over the leaves,
 * because chunks are aligned subtrees.
 * @throws RangeError when the row has not exactly one hash for each chunk, or there are no chunks
 */
export function rootFromChunkHashes(row: Uint8Array, layout: ChunkLayout): Buffer {
  if (layout.chunkCount === 0) throw new RangeError('a blob without chunks has no chunk hashes');
  if (row.length !== layout.chunkCount * HASH_BYTES) {
    throw new RangeError(`${row.length} bytes given for ${layout.chunkCount} chunk hashes`);
  }
  return merkleRoot(row);
}
