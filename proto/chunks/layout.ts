/** Size of a leaf of the hash tree in bytes; only the last leaf of a blob may be shorter. */
export const LEAF_BYTES = 1_048_576;
/** Blobs up to this size have no chunks: their whole digest is the check. */
export const UNCHUNKED_MAX_BYTES = 4 * LEAF_BYTES;
/** Most chunks a blob may have. Bounds bitmaps (2 KiB) and rows of chunk hashes (512 KiB). */
export const CHUNKS_MAX = 16_384;
/** Largest blob that has a layout: 16 TiB. */
export const BLOB_MAX_BYTES = 2 ** 44;

const ONE_LEAF_CHUNKS_MAX_BYTES = 1024 ** 3;
const FOUR_LEAF_CHUNKS_MAX_BYTES = 64 * 1024 ** 3;

/** How a blob is cut. A pure function of its size, so that every node derives the same tree. */
export type ChunkLayout = {
  /** Bytes of the blob. */
  readonly size: number;
  readonly leafCount: number;
  /** A power of two. */
  readonly leavesPerChunk: number;
  /** Bytes of every chunk but the last. */
  readonly chunkBytes: number;
  /** 0 for a blob that is not chunked. */
  readonly chunkCount: number;
};

function leavesPerChunkOf(size: number): number {
  if (size <= ONE_LEAF_CHUNKS_MAX_BYTES) return 1;
  let leaves = 4;
  if (size <= FOUR_LEAF_CHUNKS_MAX_BYTES) return leaves;
  while (Math.ceil(size / (leaves * LEAF_BYTES)) > CHUNKS_MAX) leaves *= 2;
  return leaves;
}

/**
 * The layout of a blob of `size` bytes.
 * @throws RangeError when size is not a whole number of bytes from 0 to BLOB_MAX_BYTES
 */
export function layoutOf(size: number): ChunkLayout {
  if (!Number.isSafeInteger(size) || size < 0 || size > BLOB_MAX_BYTES) {
    throw new RangeError(`blob size ${size} is not a whole number from 0 to ${BLOB_MAX_BYTES}`);
  }
  const leavesPerChunk = leavesPerChunkOf(size);
  const chunkBytes = leavesPerChunk * LEAF_BYTES;
  return {
    size,
    leafCount: Math.ceil(size / LEAF_BYTES),
    leavesPerChunk,
    chunkBytes,
    chunkCount: size <= UNCHUNKED_MAX_BYTES ? 0 : Math.ceil(size / chunkBytes),
  };
}

/**
 * The bytes of chunk `index`, half-open.
 * @throws RangeError when the blob has no such chunk
 */
export function chunkRange(layout: ChunkLayout, index: number): { start: number; end: number } {
  if (!Number.isInteger(index) || index < 0 || index >= layout.chunkCount) {
    throw new RangeError(`chunk ${index} of ${layout.chunkCount} does not exist`);
  }
  const start = index * layout.chunkBytes;
  return { start, end: Math.min(start + layout.chunkBytes, layout.size) };
}

/**
 * The chunk that holds the byte at `offset`.
 * @throws RangeError when the blob is not chunked or has no such byte
 */
export function chunkIndexAt(layout: ChunkLayout, offset: number): number {
  const inside = Number.isInteger(offset) && offset >= 0 && offset < layout.size;
  if (!inside || layout.chunkCount === 0) {
    throw new RangeError(`offset ${offset} is in no chunk of a blob of ${layout.size} bytes`);
  }
  return Math.floor(offset / layout.chunkBytes);
}
