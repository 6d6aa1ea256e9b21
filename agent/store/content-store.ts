import { mkdir, rm } from 'node:fs/promises';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { HASH_BYTES } from '../../proto/chunks/merkle.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { BlobPaths } from './blob-paths.ts';
import { defaultQuota, layDown, makeSparse } from './blob-files.ts';
import { readBootId } from './boot-id.ts';
import * as bounds from './constants.ts';
import { StoreError, storeClosed, storeErrorOf, storeFull } from './errors.ts';
import { FileCache } from './file-cache.ts';
import { moveInto } from './files.ts';
import { FsBlob } from './fs-blob.ts';
import { Growths } from './growths.ts';
import type { FsBlobState } from './fs-blob.ts';
import type { FsSpool } from './fs-spool.ts';
import { Holdings, entryOfBlob } from './holdings.ts';
import { IndexKeeper } from './index-keeper.ts';
import { EMPTY_STATS } from './metrics.ts';
import { NodeShare } from './node-share.ts';
import { NOTHING_PINNED, placeOf } from './pins.ts';
import type { PinRules } from './pins.ts';
import type {
  BlobOrigin,
  ContentStore,
  CreateBlob,
  GrowBlob,
  GrowingBlob,
  StoredBlob,
  StoreStats,
} from './port.ts';
import { Rechecker } from './rechecker.ts';
import { Scrubber, isNodeBusy } from './scrubber.ts';
import { SmallFiles, checkSmall } from './small-files.ts';
import { SmallStore } from './small-store.ts';
import { Spools } from './spools.ts';
import type { SpoolInput } from './spools.ts';
import { StoreIndex } from './store-index.ts';
import { NO_SCRUB } from './store-options.ts';
import type { StoreModules, StoreOptions } from './store-options.ts';
import { Turns } from './turns.ts';

type Place = (path: string) => Promise<void>;

/** The agent's content store on a local file system. A cache: checked when read, never fsynced. */
export class FsContentStore implements ContentStore {
  readonly #paths: BlobPaths;
  readonly #files = new FileCache();
  readonly #small: SmallStore;
  readonly #turns = new Turns();
  readonly #rechecker: Rechecker;
  readonly #proving = new Semaphore({
    permits: bounds.PROVE_PARALLEL,
    queueMax: bounds.PROVE_QUEUE_MAX,
  });
  readonly #index: StoreIndex;
  readonly #holdings: Holdings;
  readonly #keeper: IndexKeeper;
  readonly #bootId: string;
  readonly #now: () => number;
  readonly #pins: PinRules;
  readonly #modules: StoreModules;
  readonly #spools: Spools;
  readonly #growths: Growths;
  readonly #node: NodeShare | undefined;
  readonly #scrubber: Scrubber;
  #activeMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  private constructor(
    paths: BlobPaths,
    options: StoreOptions & { bootId: string },
    modules: StoreModules,
  ) {
    const { bootId, pins = NOTHING_PINNED, now = Date.now } = options;
    this.#paths = paths;
    this.#bootId = bootId;
    this.#now = now;
    this.#pins = pins;
    this.#modules = modules;
    this.#rechecker = new Rechecker(modules);
    const index = new StoreIndex({ path: paths.index, bootId, pins, now }, modules);
    this.#index = index;
    const limits = {
      quotaBytes: options.quotaBytes ?? 0,
      highWater: options.highWater ?? bounds.HIGH_WATER_SHARE,
      lowWater: options.lowWater ?? bounds.LOW_WATER_SHARE,
      entriesMax: options.entriesMax ?? bounds.ENTRIES_MAX,
    };
    const makeBlob = (facts: CreateBlob, state: FsBlobState) => this.#newBlob(facts, state);
    const loadNodeBlob = (digest: Digest) => this.#node?.loadNow(digest);
    const made = { paths, index, makeBlob, loadNodeBlob };
    this.#holdings = new Holdings({ bootId, limits }, { ...modules, ...made });
    const { quotaBytes, containerdContent: folder } = options;
    const holdings = this.#holdings;
    this.#node =
      folder === undefined
        ? undefined
        : new NodeShare(folder, { ...modules, paths, index, holdings, proving: this.#proving });
    const onIndexed = () => this.#holdQuota(quotaBytes);
    this.#keeper = new IndexKeeper({ ...modules, index, holdings, paths, onIndexed });
    const adopt = (path: string, facts: CreateBlob, have?: ChunkBitmap) =>
      this.#inTurn(facts.digest, () => this.#adopt(path, facts, have));
    const files = { paths, files: this.#files, ledger: holdings.ledger, adopt };
    this.#spools = new Spools(files);
    this.#growths = new Growths(files);
    const small = new SmallFiles(paths);
    this.#small = new SmallStore({ index, holdings, files: small, now });
    const { scrub = NO_SCRUB } = options;
    const isBusy = scrub.isBusy ?? (() => this.#isActive() || isNodeBusy());
    this.#scrubber = new Scrubber(scrub, { ...modules, index, holdings, small, now, isBusy });
    modules.metrics.observe(() => this.stats());
  }

  /**
   * Opens the store with what earlier runs left, in a time that does not follow how much that is.
   * @throws StoreError IO, DISK_FULL
   */
  static async open(options: StoreOptions, modules: StoreModules): Promise<FsContentStore> {
    const paths = new BlobPaths(options.dataDir);
    const bootId = options.bootId ?? (await readBootId());
    try {
      await mkdir(paths.root, { recursive: true, mode: 0o700 });
      await rm(paths.temporaryFolder, { recursive: true, force: true });
      await mkdir(paths.temporaryFolder, { recursive: true, mode: 0o700 });
      const store = new FsContentStore(paths, { ...options, bootId }, modules);
      await store.#start(options.quotaBytes);
      return store;
    } catch (err) {
      throw storeErrorOf(err, options.dataDir);
    }
  }

  async getSmall(digest: Digest): Promise<Buffer | undefined> {
    this.#checkOpen();
    return (await this.#small.get(digest)) ?? this.#node?.content.small(digest);
  }

  async putSmall(digest: Digest, bytes: Buffer, origin?: BlobOrigin): Promise<void> {
    this.#checkOpen();
    checkSmall(digest, bytes);
    await this.#inTurn(digest, () => this.#putSmall(digest, bytes, origin));
  }

  async #putSmall(digest: Digest, bytes: Buffer, origin: BlobOrigin | undefined): Promise<void> {
    await this.#indexed(bytes.length);
    if (this.#holdings.entry(digest) !== undefined) {
      if (origin !== undefined) this.claim(digest, origin);
      return;
    }
    try {
      await this.#small.put(digest, bytes, origin);
    } catch (err) {
      throw this.#noteRefusal(err);
    }
  }

  claim(digest: Digest, origin: BlobOrigin): void {
    const place = placeOf(origin);
    if (this.#closed || !this.#pins.places.has(place)) return;
    try {
      if (this.#holdings.entry(digest)?.pinned === false) this.#index.claim(digest, place);
    } catch (err) {
      this.#modules.logger.warn({ digest, err }, 'pinned content is not kept from eviction');
    }
  }

  find(digest: Digest): StoredBlob | undefined {
    if (this.#closed) return undefined;
    const blob = this.#holdings.find(digest);
    blob?.recheck();
    return blob;
  }

  async create(input: CreateBlob): Promise<StoredBlob> {
    this.#checkOpen();
    return this.#inTurn(input.digest, () => this.#create(input));
  }

  async spool(input: SpoolInput): Promise<FsSpool> {
    this.#checkOpen();
    await this.#indexed(input.size);
    try {
      return await this.#spools.open(input);
    } catch (err) {
      throw this.#noteRefusal(err);
    }
  }

  async grow(input: GrowBlob): Promise<GrowingBlob> {
    this.#checkOpen();
    await this.#indexed(input.size);
    try {
      return await this.#growths.open(input);
    } catch (err) {
      throw this.#noteRefusal(err);
    }
  }

  growing(digest: Digest): GrowingBlob | undefined {
    return this.#closed ? undefined : this.#growths.find(digest);
  }

  /** See Ledger.hasRoomFor; false while what is here is not known. */
  hasRoomFor(bytes: number): boolean {
    return !this.#closed && this.#holdings.isIndexed && this.#holdings.ledger.hasRoomFor(bytes);
  }

  /** Removes content, whoever reads it; nothing when it is not here. */
  async remove(digest: Digest): Promise<void> {
    this.#checkOpen();
    await this.#growths.find(digest)?.discard();
    await this.#inTurn(digest, () => this.#holdings.drop(digest));
  }

  list(): Iterable<StoredBlob> {
    return this.#closed ? [] : this.#holdings.list();
  }

  stats(): StoreStats {
    if (this.#closed) return EMPTY_STATS;
    const { held, pinned, entries } = this.#index.totals();
    const { bytes: reservedBytes, quotaBytes } = this.#holdings.ledger;
    const nowMs = this.#now();
    const oldestCheckMs = Math.max(0, nowMs - (this.#index.oldestCheckMs ?? nowMs));
    const common = { bytes: held, reservedBytes, pinnedBytes: pinned, blobs: entries };
    return { ...common, quotaBytes, oldestCheckMs };
  }

  get sharesNode(): boolean {
    return this.#node !== undefined;
  }

  async isOnNode(digest: Digest): Promise<boolean> {
    return this.#node !== undefined && !this.#closed && this.#node.has(digest);
  }

  /** Looks at once which files of containerd are gone. */
  async lookAtNode(): Promise<void> {
    await this.#node?.look();
  }

  /** Hashes what was not hashed for the period of the scrub. */
  async scrub(): Promise<void> {
    await this.#scrubber.round();
  }

  /** Resolves when what an earlier run left is all in the index, and no eviction goes on. */
  async settled(): Promise<void> {
    await this.#keeper.idle();
    await this.#holdings.settled();
  }

  /** Flushes what changed, within CLOSE_FLUSH_MS, so that it needs no check after a reboot. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const parts = [this.#rechecker, this.#keeper, this.#scrubber, this.#node];
    await Promise.all(parts.map(async (part) => part?.close()));
    await this.#turns.settled();
    await this.#holdings.settled();
    const flushUntil = performance.now() + bounds.CLOSE_FLUSH_MS;
    for (const blob of this.#holdings.all()) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one disk
        await blob.close(performance.now() < flushUntil);
      } catch (err) {
        this.#modules.logger.warn({ err, digest: blob.digest }, 'blob not saved at the stop');
      }
    }
    this.#index.close();
    await this.#files.close();
  }

  async #start(quotaBytes: number | undefined): Promise<void> {
    if (this.#holdings.isIndexed) await this.#holdQuota(quotaBytes);
    this.#keeper.start();
    this.#scrubber.start();
    this.#node?.start();
    this.#holdings.warm(this.#index.listed(bounds.LISTED_MAX));
  }

  async #holdQuota(quotaBytes: number | undefined): Promise<void> {
    const { ledger } = this.#holdings;
    const { held } = this.#index.totals();
    ledger.quotaBytes = quotaBytes ?? (await defaultQuota(this.#paths.root, held));
    const excess = ledger.bytes - ledger.quotaBytes;
    if (excess > 0) await ledger.shrink(excess, 'quota');
  }

  /** New content waits for an index that is being made anew, because room cannot be told before. */
  async #indexed(bytes: number): Promise<void> {
    if (this.#holdings.isIndexed) return;
    using limit = deadline(bounds.REBUILD_WAIT_MS);
    try {
      await abortable(this.#keeper.indexed(), limit.signal);
    } catch (err) {
      if (!hasCode(err, 'TIMEOUT')) throw err;
    }
    const { isIndexed, ledger } = this.#holdings;
    if (!isIndexed) throw this.#noteRefusal(storeFull('being indexed', bytes, ledger.quotaBytes));
    this.#checkOpen();
  }

  #inTurn<T>(digest: Digest, task: () => Promise<T>): Promise<T> {
    return this.#turns.take(digest, () => this.#checkOpen(), task);
  }

  async #create(input: CreateBlob): Promise<StoredBlob> {
    await this.#indexed(input.size);
    const known = this.#holdings.find(input.digest);
    if (known !== undefined) {
      this.#handOver(known.hold());
      if (known.size === input.size && known.hashes.equals(input.hashes)) {
        if (input.statement.length > 0 && !known.statement.equals(input.statement)) {
          await known.certify(input.statement);
          this.#index.put(entryOfBlob(known));
        }
        if (input.origin !== undefined) this.claim(input.digest, input.origin);
        return known;
      }
      await this.#holdings.drop(input.digest);
    }
    if (this.#node !== undefined && (await this.#node.has(input.digest, input.size)))
      return this.#share(input, this.#node);
    const { chunkCount } = layoutOf(input.size);
    return this.#build(input, new ChunkBitmap(chunkCount), (path) => makeSparse(path, input.size));
  }

  async #share(input: CreateBlob, node: NodeShare): Promise<StoredBlob> {
    try {
      const { blob, hold } = await node.share(input);
      this.#handOver(hold);
      return blob;
    } catch (err) {
      throw this.#noteRefusal(err);
    }
  }

  /** Takes a file with these chunks in it, all of them unless said otherwise. */
  async #adopt(path: string, input: CreateBlob, have?: ChunkBitmap): Promise<StoredBlob> {
    const known = this.#holdings.find(input.digest);
    if (known?.complete === true) {
      this.#handOver(known.hold());
      await this.#files.forget(path);
      await rm(path, { force: true });
      return known;
    }
    if (known !== undefined) await this.#holdings.drop(input.digest);
    const there = have ?? ChunkBitmap.full(layoutOf(input.size).chunkCount);
    const blob = await this.#build(input, there, (data) => moveInto(path, data));
    await this.#files.forget(path);
    return blob;
  }

  async #build(facts: CreateBlob, have: ChunkBitmap, placeData: Place): Promise<StoredBlob> {
    if (facts.hashes.length !== layoutOf(facts.size).chunkCount * HASH_BYTES) {
      throw new StoreError('chunk hashes do not fit the size', { code: 'OUT_OF_RANGE' });
    }
    using making = await this.#holdings.make(facts.digest);
    void making;
    const pending = new ChunkBitmap(have.size);
    const bootId = this.#bootId;
    const blob = this.#newBlob(facts, { have, pending, bootId, clean: false, fresh: true });
    const hold = blob.hold();
    try {
      await this.#holdings.ledger.admit(entryOfBlob(blob));
      const { folder } = blob;
      await layDown({ folder, facts, have, bootId }, this.#paths, placeData);
    } catch (err) {
      this.#holdings.forget(facts.digest);
      throw this.#noteRefusal(err);
    }
    this.#holdings.put(blob);
    this.#handOver(hold);
    return blob;
  }

  /** Lets go of a blob that is being returned, once the caller had its turn to retain it. */
  #handOver(hold: Disposable): void {
    setImmediate(() => hold[Symbol.dispose]());
  }

  #newBlob(facts: CreateBlob, state: FsBlobState): FsBlob {
    const { digest } = facts;
    const blob: FsBlob = new FsBlob(facts, state, {
      paths: this.#paths,
      files: this.#files,
      rechecker: this.#rechecker,
      logger: this.#modules.logger,
      proving: this.#proving,
      makeRoom: (bytes) => this.#holdings.ledger.shrink(bytes, 'disk'),
      used: () => {
        this.#activeMs = performance.now();
        this.#index.touch(digest);
        blob.touch(this.#now());
      },
      changed: () => {
        this.#activeMs = performance.now();
        this.#index.noteHeld(digest, blob.bytes);
      },
    });
    return blob;
  }

  #isActive(): boolean {
    return performance.now() - this.#activeMs < bounds.SCRUB_QUIET_MS;
  }

  #noteRefusal(err: unknown): unknown {
    if (err instanceof StoreError && (err.code === 'STORE_FULL' || err.code === 'DISK_FULL')) {
      this.#modules.metrics.refused.inc({ reason: err.code.toLowerCase() });
    }
    return err;
  }

  #checkOpen(): void {
    if (this.#closed) throw storeClosed();
  }
}
