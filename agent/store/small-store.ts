import type { Digest } from '../../proto/oci/digest.ts';
import { TOUCH_INTERVAL_MS } from './constants.ts';
import type { Holdings } from './holdings.ts';
import { placeOf } from './pins.ts';
import type { BlobOrigin } from './port.ts';
import type { SmallFiles } from './small-files.ts';
import type { StoreIndex } from './store-index.ts';

export type SmallStoreModules = {
  index: StoreIndex;
  holdings: Holdings;
  files: SmallFiles;
  now: () => number;
};

/** Blobs of at most 4 MiB, as entries of the index. */
export class SmallStore {
  readonly #modules: SmallStoreModules;

  constructor(modules: SmallStoreModules) {
    this.#modules = modules;
  }

  /** undefined when absent or damaged. */
  async get(digest: Digest): Promise<Buffer | undefined> {
    const { holdings, files, index, now } = this.#modules;
    const entry = holdings.entry(digest);
    const isUnseen = entry === undefined && !holdings.isIndexed && !holdings.isMoving(digest);
    if (!isUnseen && entry?.kind !== 'small') return undefined;
    const bytes = await files.read(digest);
    if (bytes === undefined) {
      if (entry !== undefined) holdings.dropSoon(digest);
      return undefined;
    }
    index.touch(digest);
    const nowMs = now();
    if (entry !== undefined && nowMs - entry.usedMs > TOUCH_INTERVAL_MS) {
      void files.touch(digest, nowMs);
    }
    return bytes;
  }

  /** Stores bytes whose digest was checked. @throws StoreError STORE_FULL, DISK_FULL, IO */
  async put(digest: Digest, bytes: Buffer, origin: BlobOrigin | undefined): Promise<void> {
    const { holdings, files } = this.#modules;
    using making = await holdings.make(digest);
    void making;
    const { length } = bytes;
    const row = { digest, bytes: length, held: length, place: placeOf(origin), servable: false };
    try {
      await holdings.ledger.admit({ ...row, kind: 'small' });
      await files.write(digest, bytes);
    } catch (err) {
      await files.remove(digest);
      holdings.forget(digest);
      throw err;
    }
  }
}
