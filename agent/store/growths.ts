import { rm } from 'node:fs/promises';
import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { makeSparse } from './blob-files.ts';
import type { BlobPaths } from './blob-paths.ts';
import { GROWING_MAX, GROWN_KEPT_MS } from './constants.ts';
import { storeErrorOf, storeFull } from './errors.ts';
import type { FileCache } from './file-cache.ts';
import { FsGrowingBlob } from './growing-blob.ts';
import type { Ledger } from './ledger.ts';
import type { CreateBlob, GrowBlob, StoredBlob } from './port.ts';

export type GrowthModules = {
  paths: BlobPaths;
  files: FileCache;
  ledger: Ledger;
  /** Makes a blob of a file in which these chunks are right. */
  adopt: (path: string, facts: CreateBlob, have: ChunkBitmap) => Promise<StoredBlob>;
};

/** Blobs that the hub still fetches, in temporary files: at most GROWING_MAX. */
export class Growths {
  readonly #modules: GrowthModules;
  readonly #known = new Map<Digest, FsGrowingBlob>();
  #open = 0;

  constructor(modules: GrowthModules) {
    this.#modules = modules;
  }

  find(digest: Digest): FsGrowingBlob | undefined {
    return this.#known.get(digest);
  }

  /** @throws StoreError STORE_FULL, DISK_FULL, IO */
  async open(input: GrowBlob): Promise<FsGrowingBlob> {
    const { paths, files, ledger, adopt } = this.#modules;
    const { digest, size } = input;
    if (this.#open >= GROWING_MAX || size <= UNCHUNKED_MAX_BYTES) {
      throw storeFull(`${this.#open} blobs are growing`, size, ledger.quotaBytes);
    }
    const path = paths.temporary();
    this.#open += 1;
    using undo = new DisposableStack();
    undo.defer(() => {
      this.#open -= 1;
    });
    undo.use(await ledger.reserve(size));
    try {
      await makeSparse(path, size);
    } catch (err) {
      await rm(path, { force: true });
      throw storeErrorOf(err, path);
    }
    const booked = undo.move();
    const blob: FsGrowingBlob = new FsGrowingBlob(input, path, {
      files,
      makeRoom: (bytes) => ledger.shrink(bytes, 'disk'),
      adopt: (facts, have) => {
        // The blob is booked under its name instead.
        booked.dispose();
        return adopt(path, facts, have);
      },
      ended: (settled) => {
        booked.dispose();
        if (settled) setTimeout(() => this.#forget(blob), GROWN_KEPT_MS).unref();
        else this.#forget(blob);
      },
    });
    this.#known.set(digest, blob);
    return blob;
  }

  #forget(blob: FsGrowingBlob): void {
    if (this.#known.get(blob.digest) === blob) this.#known.delete(blob.digest);
  }
}
