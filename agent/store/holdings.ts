import { rm } from 'node:fs/promises';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { removeBlobFolder } from './blob-files.ts';
import type { BlobPaths } from './blob-paths.ts';
import { BlobShelf } from './blob-shelf.ts';
import { EVICTIONS_PARALLEL, LISTED_MAX } from './constants.ts';
import type { FsBlob, FsBlobState } from './fs-blob.ts';
import { Ledger } from './ledger.ts';
import type { LedgerLimits } from './ledger.ts';
import { loadBlob, loadBlobNow } from './load-blob.ts';
import type { LoadedBlob } from './load-blob.ts';
import type { StoreMetrics } from './metrics.ts';
import { placeOf } from './pins.ts';
import type { NodeBlob } from './node-blob.ts';
import type { CreateBlob } from './port.ts';
import type { Entry, IndexedEntry, StoreIndex } from './store-index.ts';

/** A blob that is held, in files of ours or of containerd. */
export type HeldBlob = FsBlob | NodeBlob;

export type HoldingsModules = {
  paths: BlobPaths;
  index: StoreIndex;
  logger: Logger;
  metrics: StoreMetrics;
  makeBlob: (facts: CreateBlob, state: FsBlobState) => FsBlob;
  /** A blob of which only facts are kept here; undefined when they are damaged, or of no use. */
  loadNodeBlob: (digest: Digest) => NodeBlob | undefined;
};

/** What is held: the index, the blobs of it that are in memory, and the room they take. */
export class Holdings {
  readonly ledger: Ledger;
  readonly #bootId: string;
  readonly #modules: HoldingsModules;
  readonly #shelf: BlobShelf<HeldBlob>;
  /** Being laid down now: rows without files that are complete. */
  readonly #making = new Set<Digest>();
  /** Files being deleted: nothing new may take their place. */
  readonly #leaving = new Map<Digest, Promise<void>>();
  #warming: Promise<void> | undefined;
  /** False while folders may exist that have no row. */
  isIndexed: boolean;

  constructor(options: { bootId: string; limits: LedgerLimits }, modules: HoldingsModules) {
    const { index, metrics } = modules;
    this.#bootId = options.bootId;
    this.#modules = modules;
    this.isIndexed = index.complete;
    this.#shelf = new BlobShelf((blob) => void this.#settle(blob));
    this.ledger = new Ledger(options.limits, {
      index,
      isInUse: ({ digest }) => this.#isInUse(digest),
      remove: (entries) => this.remove(entries),
      onEvict: (reason, count) => metrics.evictions.inc({ reason }, count),
    });
  }

  /** A chunked blob, read from disk if need be. undefined while it comes or goes. */
  find(digest: Digest): HeldBlob | undefined {
    if (this.isMoving(digest)) return undefined;
    return this.#shelf.get(digest) ?? this.#load(digest);
  }

  /** A blob whose facts are in memory; nothing is read for it. */
  peek(digest: Digest): HeldBlob | undefined {
    return this.#shelf.get(digest, false);
  }

  /** The row of something that is neither coming nor going. */
  entry(digest: Digest): IndexedEntry | undefined {
    if (this.isMoving(digest)) return undefined;
    const entry = this.#modules.index.get(digest);
    return entry?.leaving === true ? undefined : entry;
  }

  isMoving(digest: Digest): boolean {
    return this.#making.has(digest) || this.#leaving.has(digest);
  }

  /** Hides the digest until disposed, so that nobody sees half of it. */
  async make(digest: Digest): Promise<Disposable> {
    await this.#leaving.get(digest);
    this.#making.add(digest);
    return { [Symbol.dispose]: () => void this.#making.delete(digest) };
  }

  /** Takes a blob whose files are complete. */
  put(blob: HeldBlob): void {
    this.#shelf.put(blob.digest, blob);
  }

  /** Takes a row back. That may fail, too: what has no files is dropped when it is asked for. */
  forget(digest: Digest): void {
    try {
      this.#modules.index.forget(digest);
    } catch (err) {
      this.#modules.logger.debug({ err, digest }, 'a row of the index was not removed');
    }
  }

  /** Removes something damaged. */
  async drop(digest: Digest): Promise<void> {
    const entry = this.entry(digest);
    if (entry === undefined) return;
    this.#modules.metrics.evictions.inc({ reason: 'invalid' });
    this.#modules.index.leave([digest]);
    await this.remove([entry]);
  }

  /**
   * The same for one who does not wait for it. It is hidden at once; where the index cannot note
   * that now, it is found damaged again.
   */
  dropSoon(digest: Digest): void {
    this.drop(digest).catch((err: unknown) => {
      const fields = { digest, reason: messageOf(err) };
      this.#modules.logger.warn(fields, 'something damaged in the store was not dropped');
    });
  }

  /**
   * Deletes files and then rows of entries that are marked as leaving, some at a time. None of them
   * is found from this call on, so that nobody takes up what waits for its turn.
   */
  async remove(entries: readonly IndexedEntry[]): Promise<void> {
    const turns = entries.flatMap((entry) => {
      if (this.#leaving.has(entry.digest)) return [];
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#leaving.set(entry.digest, promise);
      return { entry, resolve };
    });
    const all = entries.flatMap(({ digest }) => this.#leaving.get(digest) ?? []);
    const waiting = turns.values();
    const lane = async (): Promise<void> => {
      for (const { entry, resolve } of waiting) {
        // oxlint-disable-next-line no-await-in-loop -- EVICTIONS_PARALLEL at a time
        await this.#tryDelete(entry);
        this.#leaving.delete(entry.digest);
        resolve();
      }
    };
    for (let lanes = 0; lanes < EVICTIONS_PARALLEL; lanes += 1) void lane();
    await Promise.all(all);
  }

  /** What peers may be told about, of what is in memory; the rest of it is brought there. */
  *list(): Generator<HeldBlob, void, undefined> {
    const absent: IndexedEntry[] = [];
    for (const entry of this.#modules.index.listed(LISTED_MAX)) {
      const blob = this.isMoving(entry.digest) ? undefined : this.#shelf.get(entry.digest, false);
      if (blob !== undefined) yield blob;
      else absent.push(entry);
    }
    if (absent.length > 0) this.warm(absent);
  }

  /** Reads the facts of blobs in the background, unless that goes on already. */
  warm(entries: readonly IndexedEntry[]): void {
    this.#warming ??= this.#warm(entries).finally(() => {
      this.#warming = undefined;
    });
  }

  /** Reads a blob without holding anybody up; undefined when it is damaged, and dropped. */
  async bring(entry: IndexedEntry): Promise<HeldBlob | undefined> {
    const { digest } = entry;
    const known = this.#shelf.get(digest, false);
    if (known !== undefined || this.isMoving(digest)) return known;
    if (entry.kind === 'node') return this.find(digest);
    const loaded = await loadBlob(this.#modules.paths.chunked(digest), digest, this.#bootId);
    // Somebody else may have taken it up, or away, meanwhile.
    const now = this.entry(digest);
    if (now?.kind !== 'chunked') return undefined;
    return this.#shelf.get(digest, false) ?? this.#takeUp(loaded, digest, now);
  }

  /** All blobs in memory. */
  all(): Iterable<HeldBlob> {
    return this.#shelf.all();
  }

  async settled(): Promise<void> {
    await this.#warming;
    await this.ledger.settled();
    await Promise.all(this.#leaving.values());
  }

  #load(digest: Digest): HeldBlob | undefined {
    try {
      const entry = this.entry(digest);
      if (entry === undefined ? this.isIndexed : entry.kind === 'small') return undefined;
      if (entry?.kind === 'node') return this.#takeUpNode(entry);
      const folder = this.#modules.paths.chunked(digest);
      return this.#takeUp(loadBlobNow(folder, digest, this.#bootId), digest, entry);
    } catch (err) {
      const fields = { digest, reason: messageOf(err) };
      this.#modules.logger.warn(fields, 'a stored blob cannot be read now');
      return undefined;
    }
  }

  #takeUp(
    loaded: LoadedBlob | undefined,
    digest: Digest,
    entry: IndexedEntry | undefined,
  ): FsBlob | undefined {
    if (loaded === undefined) {
      if (entry !== undefined) this.dropSoon(digest);
      return undefined;
    }
    const { index, makeBlob } = this.#modules;
    const blob = makeBlob(loaded.facts, loaded.state);
    if (entry === undefined) index.put(entryOfBlob(blob));
    else if (!entry.known) index.learn(entryOfBlob(blob), entry);
    else if (entry.held !== blob.bytes) index.noteHeld(digest, blob.bytes);
    this.#shelf.put(digest, blob);
    return blob;
  }

  #takeUpNode(entry: IndexedEntry): NodeBlob | undefined {
    const { index, loadNodeBlob } = this.#modules;
    const blob = loadNodeBlob(entry.digest);
    if (blob === undefined) this.dropSoon(entry.digest);
    else {
      if (!entry.known) index.learn(entryOfBlob(blob), entry);
      this.#shelf.put(entry.digest, blob);
    }
    return blob;
  }

  async #warm(entries: readonly IndexedEntry[]): Promise<void> {
    for (const entry of entries) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- in the background, little at a time
        await this.bring(entry);
      } catch (err) {
        this.#modules.logger.debug({ reason: messageOf(err) }, 'a stored blob was not read');
      }
    }
  }

  async #tryDelete(entry: IndexedEntry): Promise<void> {
    try {
      await this.#delete(entry);
    } catch (err) {
      const fields = { digest: entry.digest, reason: messageOf(err) };
      this.#modules.logger.warn(fields, 'an evicted blob was not wholly deleted');
    }
  }

  async #delete(entry: IndexedEntry): Promise<void> {
    const { digest, kind } = entry;
    const { paths, index } = this.#modules;
    const blob = this.#shelf.get(digest, false);
    this.#shelf.delete(digest);
    if (blob !== undefined) await blob.remove();
    else if (kind === 'chunked') await removeBlobFolder(paths.chunked(digest));
    else await rm(paths.of(kind, digest), { force: true });
    index.forget(digest);
  }

  #isInUse(digest: Digest): boolean {
    return this.#making.has(digest) || this.#shelf.get(digest, false)?.isRetained === true;
  }

  async #settle(blob: HeldBlob): Promise<void> {
    try {
      await blob.settle();
    } catch (err) {
      this.#modules.logger.debug({ reason: messageOf(err) }, 'an idle blob was not flushed');
    }
  }
}

/** What the index is told of a blob. */
export function entryOfBlob(blob: HeldBlob): Entry {
  const { digest, kind, size, bytes, origin, servable } = blob;
  return {
    digest,
    kind,
    bytes: kind === 'node' ? 0 : size,
    held: bytes,
    place: placeOf(origin),
    servable: servable && origin !== undefined,
  };
}
