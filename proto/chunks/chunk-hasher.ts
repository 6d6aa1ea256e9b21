import { createHash, type Hash } from 'node:crypto';
import { LEAF_BYTES } from './layout.ts';
import { LEAF_PREFIX, merkleRoot } from './merkle.ts';

/** The hash of one chunk, made of its bytes as they come. */
export class ChunkHasher {
  readonly #leaves: Buffer[] = [];
  #leaf: Hash | undefined;
  #size = 0;

  /** Bytes seen so far. */
  get size(): number {
    return this.#size;
  }

  update(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const left = LEAF_BYTES - (this.#size % LEAF_BYTES);
      const part = bytes.subarray(at, at + left);
      this.#leaf ??= createHash('sha256').update(LEAF_PREFIX);
      this.#leaf.update(part);
      this.#size += part.length;
      at += part.length;
      if (part.length === left) this.#endLeaf();
    }
  }

  /** As `chunkHash` of all of them; nothing can be added then. */
  finish(): Buffer {
    this.#endLeaf();
    return merkleRoot(Buffer.concat(this.#leaves));
  }

  #endLeaf(): void {
    if (this.#leaf !== undefined) this.#leaves.push(this.#leaf.digest());
    this.#leaf = undefined;
  }
}
