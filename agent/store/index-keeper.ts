import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { BlobPaths } from './blob-paths.ts';
import { INDEX_BATCH } from './constants.ts';
import type { Holdings } from './holdings.ts';
import type { StoreMetrics } from './metrics.ts';
import { readShelf, shelvesOf } from './rebuild.ts';
import type { Shelf } from './rebuild.ts';
import type { IndexedEntry, StoreIndex } from './store-index.ts';

export type KeeperModules = {
  index: StoreIndex;
  holdings: Holdings;
  paths: BlobPaths;
  logger: Logger;
  metrics: StoreMetrics;
  /** All rows are there: the quota can be told, and held. */
  onIndexed: () => Promise<void>;
};

/** Fills the index from the folders when it is new, and ends what an earlier run began. */
export class IndexKeeper {
  readonly #modules: KeeperModules;
  #indexing: Promise<void> | undefined;
  /** Of the fills that were begun the last one counts: the others fill an index that is lost. */
  #fills = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(modules: KeeperModules) {
    this.#modules = modules;
    modules.index.onReplaced = () => this.#startOver();
  }

  /** Begins the work, if there is any. */
  start(): void {
    if (!this.#modules.holdings.isIndexed) this.#indexing = this.#fill();
    this.#running = this.#follow(this.#indexing);
  }

  /** Resolves when every folder has its row. */
  async indexed(): Promise<void> {
    await this.#indexing;
  }

  /** Resolves when nothing is left to do. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  #startOver(): void {
    this.#modules.holdings.isIndexed = false;
    const before = this.#running;
    this.#indexing = this.#fill();
    const after = this.#follow(this.#indexing);
    this.#running = (async () => {
      await before;
      await after;
    })();
  }

  async #fill(): Promise<void> {
    const { index, holdings, paths, logger, metrics, onIndexed } = this.#modules;
    const startMs = performance.now();
    metrics.rebuilds.inc();
    this.#fills += 1;
    const own = this.#fills;
    let entries = 0;
    let unread = 0;
    try {
      for (const shelf of await shelvesOf(paths)) {
        if (this.#closed || own !== this.#fills) return;
        // oxlint-disable-next-line no-await-in-loop -- a folder at a time
        const found = await this.#meet(shelf);
        if (found === undefined) unread += 1;
        entries += found ?? 0;
      }
      if (own !== this.#fills) return;
      holdings.isIndexed = true;
      await onIndexed();
      // What could not be read is looked for by the next start; the rest is of use until then.
      if (unread === 0 && own === this.#fills) index.completed();
      const ms = Math.round(performance.now() - startMs);
      if (entries > 0) logger.info({ entries, ms }, 'the index of the store was made anew');
    } catch (err) {
      logger.error({ reason: messageOf(err) }, 'the folders of the store cannot be read');
    }
  }

  /** How many things lie in a folder and have their rows now; undefined when it is unreadable. */
  async #meet(shelf: Shelf): Promise<number | undefined> {
    const { index, holdings, paths, logger, metrics } = this.#modules;
    try {
      const found = await readShelf(shelf, paths, {
        isKnown: (digest, kind) => holdings.isMoving(digest) || index.get(digest)?.kind === kind,
        onDropped: () => metrics.evictions.inc({ reason: 'invalid' }),
      });
      index.meet(found);
      return found.length;
    } catch (err) {
      const fields = { ...shelf, reason: messageOf(err) };
      logger.error(fields, 'a folder of the store cannot be read; what is in it is fetched anew');
      return undefined;
    }
  }

  async #follow(indexing: Promise<void> | undefined): Promise<void> {
    await indexing;
    const { logger } = this.#modules;
    try {
      await this.#removeLeft();
      await this.#readUnknown();
    } catch (err) {
      logger.warn({ reason: messageOf(err) }, 'what an earlier run left was not looked through');
    }
  }

  /** Deletes what an earlier run had begun to delete. */
  async #removeLeft(): Promise<void> {
    const { index, holdings } = this.#modules;
    for (;;) {
      const left = index.leaving(INDEX_BATCH).filter(({ digest }) => !holdings.isMoving(digest));
      if (left.length === 0 || this.#closed) return;
      for (const entry of left) {
        const { digest } = entry;
        // While the others were deleted it may have come anew.
        if (holdings.isMoving(digest) || index.get(digest)?.leaving !== true) continue;
        // oxlint-disable-next-line no-await-in-loop -- in the background, little at a time
        await holdings.remove([entry]);
        // What cannot be deleted now is tried at the next start.
        if (index.get(digest)?.leaving === true) return;
      }
    }
  }

  /** Reads the facts of blobs of which only the folder was seen. */
  async #readUnknown(): Promise<void> {
    const { index } = this.#modules;
    for (;;) {
      const entries = index.unknown(INDEX_BATCH);
      let news = 0;
      for (const entry of entries) {
        if (this.#closed) return;
        // oxlint-disable-next-line no-await-in-loop -- in the background, little at a time
        await this.#read(entry);
        if (index.get(entry.digest)?.known !== false) news += 1;
      }
      if (news === 0) return;
    }
  }

  async #read(entry: IndexedEntry): Promise<void> {
    const { holdings, logger } = this.#modules;
    try {
      await holdings.bring(entry);
    } catch (err) {
      const fields = { digest: entry.digest, reason: messageOf(err) };
      logger.warn(fields, 'the facts of a stored blob cannot be read now');
    }
  }
}
