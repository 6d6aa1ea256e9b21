import { createHash, type Hash } from 'node:crypto';
import { digestFromBytes, type Digest } from '../oci/digest.ts';
import { BLOB_MAX_BYTES, LEAF_BYTES } from './layout.ts';
import { HASH_BYTES, LEAF_PREFIX, merkleRoot } from './merkle.ts';

const LEAVES_INITIAL = 64;

/** What one pass over a blob finds out. */
export type ContentHashes = {
  /** Bytes seen. */
  size: number;
  digests: { sha256: Digest; sha512?: Digest };
  /** Packed leaf hashes, 32 bytes for each MiB begun. */
  leaves: Buffer;
  root: Buffer;
};

/**
 * Digests, leaves and root of a blob in a single pass, for a stream of unknown length in any
 * slicing. Holds 32 bytes for each MiB seen.
 */
export class ContentHasher {
  readonly #sha256 = createHash('sha256');
  readonly #sha512: Hash | undefined;
  #leaf: Hash | undefined;
  #leafBytes = 0;
  #leaves = Buffer.allocUnsafe(LEAVES_INITIAL * HASH_BYTES);
  #leafCount = 0;
  #size = 0;

  constructor(options: { algorithms?: readonly ('sha256' | 'sha512')[] } = {}) {
    this.#sha512 = options.algorithms?.includes('sha512') ? createHash('sha512') : undefined;
  }

  /** Bytes seen so far. */
  get size(): number {
    return this.#size;
  }

  /**
   * Takes the next bytes of the blob. They are not kept.
   * @throws RangeError beyond BLOB_MAX_BYTES
   */
  update(bytes: Uint8Array): void {
    if (this.#size + bytes.length > BLOB_MAX_BYTES) {
      throw new RangeError(`blob is larger than ${BLOB_MAX_BYTES} bytes`);
    }
    this.#sha256.update(bytes);
    this.#sha512?.update(bytes);
    this.#size += bytes.length;
    let at = 0;
    while (at < bytes.length) {
      const take = Math.min(LEAF_BYTES - this.#leafBytes, bytes.length - at);
      this.#leaf ??= createHash('sha256').update(LEAF_PREFIX);
      this.#leaf.update(bytes.subarray(at, at + take));
      this.#leafBytes += take;
      at += take;
      if (this.#leafBytes === LEAF_BYTES) this.#endLeaf();
    }
  }

  /** Packed hashes of the leaves that are complete, from leaf `first` on. */
  leavesFrom(first: number): Buffer {
    const { length } = this.#leaves;
    const end = Math.min(length, this.#leafCount * HASH_BYTES);
    return Buffer.from(this.#leaves.subarray(Math.min(end, first * HASH_BYTES), end));
  }

  /** Ends the blob; the hasher cannot be used afterwards. */
  finish(): ContentHashes {
    if (this.#leafBytes > 0) this.#endLeaf();
    const leaves = Buffer.from(this.#leaves.subarray(0, this.#leafCount * HASH_BYTES));
    const sha256 = digestFromBytes('sha256', this.#sha256.digest());
    const sha512 = this.#sha512 && digestFromBytes('sha512', this.#sha512.digest());
    return {
      size: this.#size,
      digests: sha512 === undefined ? { sha256 } : { sha256, sha512 },
      leaves,
      root: merkleRoot(leaves),
    };
  }

  #endLeaf(): void {
    if (this.#leaf === undefined) return;
    const end = (this.#leafCount + 1) * HASH_BYTES;
    if (end > this.#leaves.length) {
      const grown = Buffer.allocUnsafe(this.#leaves.length * 2);
      this.#leaves.copy(grown);
      this.#leaves = grown;
    }
    this.#leaf.digest().copy(this.#leaves, end - HASH_BYTES);
    this.#leafCount++;
    this.#leaf = undefined;
    this.#leafBytes = 0;
  }
}
