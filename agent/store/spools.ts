import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { BlobPaths } from './blob-paths.ts';
import { makeSparse } from './blob-files.ts';
import { SPOOLS_MAX } from './constants.ts';
import { storeFull } from './errors.ts';
import type { FileCache } from './file-cache.ts';
import { FsSpool } from './fs-spool.ts';
import type { Ledger } from './ledger.ts';
import type { BlobOrigin, CreateBlob, StoredBlob } from './port.ts';

export type SpoolInput = { digest: Digest; size: number; origin?: BlobOrigin | undefined };

export type SpoolModules = {
  paths: BlobPaths;
  files: FileCache;
  ledger: Ledger;
  /** Makes a blob of a file whose digest was checked. */
  adopt: (path: string, facts: CreateBlob) => Promise<StoredBlob>;
};

/** Files of bytes that have no name yet, at most SPOOLS_MAX. */
export class Spools {
  readonly #modules: SpoolModules;
  #open = 0;

  constructor(modules: SpoolModules) {
    this.#modules = modules;
  }

  /** @throws StoreError STORE_FULL, DISK_FULL, IO */
  async open(input: SpoolInput): Promise<FsSpool> {
    const { paths, files, ledger, adopt } = this.#modules;
    if (this.#open >= SPOOLS_MAX || input.size <= UNCHUNKED_MAX_BYTES) {
      throw storeFull(`${this.#open} spools are open`, input.size, ledger.quotaBytes);
    }
    const path = paths.temporary();
    this.#open += 1;
    using undo = new DisposableStack();
    undo.defer(() => {
      this.#open -= 1;
    });
    undo.use(await ledger.reserve(input.size));
    await makeSparse(path, 0);
    const booked = undo.move();
    const release = (): void => booked.dispose();
    return new FsSpool(
      { path, size: input.size },
      {
        files,
        release,
        adopt: (hashes) => {
          release();
          return adopt(path, { ...input, hashes, statement: Buffer.alloc(0) });
        },
      },
    );
  }
}
