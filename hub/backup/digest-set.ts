import { digestAlgorithm, digestBytes, type Digest } from '../../proto/oci/digest.ts';

const FIRST_ENTRIES = 1024;
const BYTES = { sha256: 32, sha512: 64 } as const;

/** Many digests in little memory; they are added in the order of their text. */
export class DigestSet {
  readonly #sorted = { sha256: Buffer.alloc(0), sha512: Buffer.alloc(0) };
  readonly #counts = { sha256: 0, sha512: 0 };

  add(digest: Digest): void {
    const algorithm = digestAlgorithm(digest);
    const bytes = BYTES[algorithm];
    const count = this.#counts[algorithm];
    let sorted = this.#sorted[algorithm];
    if ((count + 1) * bytes > sorted.length) {
      const larger = Buffer.alloc(Math.max(FIRST_ENTRIES * bytes, sorted.length * 2));
      sorted.copy(larger);
      sorted = larger;
      this.#sorted[algorithm] = larger;
    }
    digestBytes(digest).copy(sorted, count * bytes);
    this.#counts[algorithm] = count + 1;
  }

  has(digest: Digest): boolean {
    const algorithm = digestAlgorithm(digest);
    const bytes = BYTES[algorithm];
    const sorted = this.#sorted[algorithm];
    const wanted = digestBytes(digest);
    let low = 0;
    let high = this.#counts[algorithm];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const order = sorted.compare(wanted, 0, bytes, middle * bytes, (middle + 1) * bytes);
      if (order === 0) return true;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return false;
  }
}
