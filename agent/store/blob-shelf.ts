import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import { LOADED_BYTES_MAX, LOADED_BLOB_BYTES } from './constants.ts';

/**
 * The blobs whose facts are in memory: every one that somebody holds a reference to, and the last
 * used others up to LOADED_BYTES_MAX. A blob is never here twice, or its bits would be, too.
 */
export class BlobShelf<B extends { readonly hashes: Buffer }> {
  readonly #alive = new Map<Digest, WeakRef<B>>();
  readonly #recent: LRUCache<Digest, B>;
  readonly #gone = new FinalizationRegistry<Digest>((digest) => {
    if (this.#alive.get(digest)?.deref() === undefined) this.#alive.delete(digest);
  });

  /** `onIdle` is told of a blob that leaves the last used ones. */
  constructor(onIdle: (blob: B) => void) {
    this.#recent = new LRUCache({
      maxSize: LOADED_BYTES_MAX,
      sizeCalculation: (blob) => blob.hashes.length + LOADED_BLOB_BYTES,
      dispose: (blob, _digest, reason) => {
        if (reason === 'evict') onIdle(blob);
      },
    });
  }

  /** The blob if it is in memory; `use` false leaves the order as it is. */
  get(digest: Digest, use = true): B | undefined {
    const recent = use ? this.#recent.get(digest) : this.#recent.peek(digest);
    if (recent !== undefined) return recent;
    const blob = this.#alive.get(digest)?.deref();
    if (blob !== undefined && use) this.#recent.set(digest, blob);
    return blob;
  }

  put(digest: Digest, blob: B): void {
    this.#alive.set(digest, new WeakRef(blob));
    this.#gone.register(blob, digest);
    this.#recent.set(digest, blob);
  }

  delete(digest: Digest): void {
    this.#alive.delete(digest);
    this.#recent.delete(digest);
  }

  /** All that are in memory. */
  *all(): Generator<B, void, undefined> {
    for (const reference of this.#alive.values()) {
      const blob = reference.deref();
      if (blob !== undefined) yield blob;
    }
  }
}
