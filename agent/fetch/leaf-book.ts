import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import { HASH_BYTES, merkleRoot } from '../../proto/chunks/merkle.ts';

/** Hashes of consecutive chunks, 32 bytes each. */
export type ChunkHashes = { first: number; hashes: Buffer };

/** Makes chunk hashes of leaves as they come, in their order. Keeps the leaves of one chunk. */
export class LeafBook {
  readonly #layout: ChunkLayout;
  /** Leaves of the chunk that is not whole. */
  #tail = Buffer.alloc(0);
  #chunks = 0;

  constructor(layout: ChunkLayout) {
    this.#layout = layout;
  }

  /** Leaves taken: the one to be asked for next. */
  get next(): number {
    const { leavesPerChunk, leafCount } = this.#layout;
    // The last chunk may have fewer.
    const whole = Math.min(leafCount, this.#chunks * leavesPerChunk);
    return whole + this.#tail.length / HASH_BYTES;
  }

  /** Takes leaves from leaf `first` on; the hashes of the chunks that they make whole. */
  add(first: number, leaves: Buffer): ChunkHashes {
    const known = this.next - first;
    // With a gap before them they are of no use yet.
    const news = known < 0 ? Buffer.alloc(0) : leaves.subarray(known * HASH_BYTES);
    const { leavesPerChunk, leafCount } = this.#layout;
    let rest = Buffer.concat([this.#tail, news]);
    const made: ChunkHashes = { first: this.#chunks, hashes: Buffer.alloc(0) };
    const rows: Buffer[] = [];
    for (;;) {
      const left = leafCount - this.#chunks * leavesPerChunk;
      const bytes = Math.min(leavesPerChunk, left) * HASH_BYTES;
      if (bytes <= 0 || rest.length < bytes) break;
      rows.push(merkleRoot(rest.subarray(0, bytes)));
      rest = rest.subarray(bytes);
      this.#chunks += 1;
    }
    this.#tail = Buffer.from(rest);
    return { ...made, hashes: Buffer.concat(rows) };
  }
}
