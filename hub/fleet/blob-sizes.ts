import { LRUCache } from 'lru-cache';
import { layoutOf } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { BLOB_SIZES_MAX, BLOB_SIZE_CACHE_MS, UNKNOWN_BLOB_CACHE_MS } from './constants.ts';

type BlobSizesModules = {
  catalog: { blobIn(repository: string, digest: Digest): Promise<{ size: number } | undefined> };
  /** Blobs on their way into the repository; undefined when there never are any. */
  coming?: ComingBlobs | undefined;
};

/** A blob on its way into a repository: its size, and the bytes that are here. */
export type ComingBlobs = (
  repository: string,
  digest: Digest,
) => { size: number; received: number } | undefined;

/** Chunks that are here of a blob on its way; undefined when it is not on its way to this hub. */
export function chunksHere(
  coming: ComingBlobs | undefined,
  repository: string,
  digest: Digest,
): number | undefined {
  const found = coming?.(repository, digest);
  if (found === undefined || found.received >= found.size) return undefined;
  return Math.floor(found.received / layoutOf(found.size).chunkBytes);
}

/** What the hub hashed, by repository: a blob of one repository is none of another's business. */
export class BlobSizes {
  readonly #catalog: BlobSizesModules['catalog'];
  readonly #coming: BlobSizesModules['coming'];
  readonly #known: LRUCache<string, Promise<number | undefined>>;

  constructor(options: { now: () => number }, { catalog, coming }: BlobSizesModules) {
    this.#catalog = catalog;
    this.#coming = coming;
    this.#known = new LRUCache({
      max: BLOB_SIZES_MAX,
      ttl: BLOB_SIZE_CACHE_MS,
      perf: { now: options.now },
      ttlResolution: 0,
    });
  }

  /**
   * Size in bytes of a blob of this repository; undefined when the repository does not have it.
   * The answer is as old as BLOB_SIZE_CACHE_MS, "no" as UNKNOWN_BLOB_CACHE_MS. Of a blob on its
   * way it is what the upstream says.
   */
  async sizeIn(repository: string, digest: Digest): Promise<number | undefined> {
    const coming = this.#coming?.(repository, digest);
    if (coming !== undefined) return coming.size;
    const key = `${repository} ${digest}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    // Many members ask for the same at once: the catalog is asked once.
    const asking = this.#catalog.blobIn(repository, digest).then((found) => found?.size);
    this.#known.set(key, asking);
    try {
      const size = await asking;
      if (size === undefined) this.#known.set(key, asking, { ttl: UNKNOWN_BLOB_CACHE_MS });
      return size;
    } catch (err) {
      this.#known.delete(key);
      throw err;
    }
  }
}
