import { mkdir, rm } from 'node:fs/promises';
import { UNCHUNKED_MAX_BYTES, layoutOf } from '../../proto/chunks/layout.ts';
import { HASH_BYTES } from '../../proto/chunks/merkle.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { BlobPaths } from './blob-paths.ts';
import { defaultQuota, layDown, makeSparse } from './blob-files.ts';
import { readBootId } from './boot-id.ts';
import { CLOSE_FLUSH_MS, PROVE_PARALLEL, PROVE_QUEUE_MAX, SPOOLS_MAX } from './constants.ts';
import { StoreError, storeClosed, storeErrorOf } from './errors.ts';
import { FileCache } from './file-cache.ts';
import { moveInto } from './files.ts';
import { FsBlob } from './fs-blob.ts';
import type { FsBlobState } from './fs-blob.ts';
import { FsSpool } from './fs-spool.ts';
import { Ledger } from './ledger.ts';
import type { LedgerEntry } from './ledger.ts';
import type { StoreMetrics } from './metrics.ts';
import type { BlobOrigin, ContentStore, CreateBlob, StoredBlob, StoreStats } from './port.ts';
import { Rechecker } from './rechecker.ts';
import { scanStore } from './scan.ts';
import type { Found } from './scan.ts';
import { SmallFiles, checkSmall } from './small-files.ts';

export type StoreOptions = {
  /** Folder of the store; made with mode 0700. */
  dataDir: string;
  /** Most bytes promised to blobs; undefined: a share of what is free and in use by us. */
  quotaBytes?: number | undefined;
  /** Names the kernel run; for tests. */
  bootId?: string;
  now?: () => number;
};

export type StoreModules = { logger: Logger; metrics: StoreMetrics };

type ChunkedEntry = StoreEntry & { readonly blob: FsBlob };
type StoreEntry = LedgerEntry & { readonly blob?: FsBlob };

/** The agent's content store on a local file system. A cache: checked when read, never fsynced. */
export class FsContentStore implements ContentStore {
  readonly #paths: BlobPaths;
  readonly #files = new FileCache();
  readonly #small: SmallFiles;
  readonly #blobs = new Map<Digest, ChunkedEntry>();
  readonly #creating = new Map<Digest, Promise<StoredBlob>>();
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #rechecker: Rechecker;
  readonly #proving = new Semaphore({ permits: PROVE_PARALLEL, queueMax: PROVE_QUEUE_MAX });
  readonly #ledger: Ledger<StoreEntry>;
  readonly #bootId: string;
  readonly #now: () => number;
  readonly #modules: StoreModules;
  #spools = 0;
  #closed = false;

  private constructor(
    options: { paths: BlobPaths; bootId: string; quotaBytes: number; now: () => number },
    modules: StoreModules,
  ) {
    this.#paths = options.paths;
    this.#bootId = options.bootId;
    this.#now = options.now;
    this.#modules = modules;
    this.#small = new SmallFiles(options.paths);
    this.#rechecker = new Rechecker(modules);
    this.#ledger = new Ledger({ quotaBytes: options.quotaBytes }, (reason) => {
      modules.metrics.evictions.inc({ reason });
    });
    modules.metrics.observe(() => this.stats());
  }

  /** Opens the store and takes over what earlier runs left. Throws StoreError IO. */
  static async open(options: StoreOptions, modules: StoreModules): Promise<FsContentStore> {
    const paths = new BlobPaths(options.dataDir);
    const bootId = options.bootId ?? (await readBootId());
    try {
      await mkdir(paths.root, { recursive: true, mode: 0o700 });
      const found = await scanStore(paths, bootId);
      await mkdir(paths.temporaryFolder, { recursive: true, mode: 0o700 });
      const quotaBytes = options.quotaBytes ?? (await defaultQuota(paths.root, found));
      const now = options.now ?? Date.now;
      const store = new FsContentStore({ paths, bootId, quotaBytes, now }, modules);
      await store.#takeOver(found);
      return store;
    } catch (err) {
      throw storeErrorOf(err, options.dataDir);
    }
  }

  async getSmall(digest: Digest): Promise<Buffer | undefined> {
    this.#checkOpen();
    const key = smallKey(digest);
    if (this.#ledger.get(key) === undefined) return undefined;
    const bytes = await this.#small.read(digest);
    if (bytes === undefined) {
      this.#ledger.forget(key);
      this.#modules.metrics.evictions.inc({ reason: 'invalid' });
      return undefined;
    }
    this.#ledger.touch(key);
    void this.#small.touch(digest, this.#now());
    return bytes;
  }

  async putSmall(digest: Digest, bytes: Buffer): Promise<void> {
    this.#checkOpen();
    checkSmall(digest, bytes);
    const key = smallKey(digest);
    if (this.#ledger.get(key) !== undefined) return;
    await this.#leaving.get(key);
    try {
      await this.#small.write(digest, bytes);
      await this.#ledger.admit(this.#smallEntry(digest, bytes.length));
    } catch (err) {
      if (this.#ledger.get(key) === undefined) await this.#small.remove(digest);
      throw this.#noteRefusal(err);
    }
  }

  find(digest: Digest): StoredBlob | undefined {
    const entry = this.#blobs.get(digest);
    if (entry === undefined || this.#closed) return undefined;
    this.#ledger.touch(entry.key);
    entry.blob.touch(this.#now());
    entry.blob.recheck();
    return entry.blob;
  }

  async create(input: CreateBlob): Promise<StoredBlob> {
    this.#checkOpen();
    const running = this.#creating.get(input.digest);
    if (running !== undefined) return running;
    const creating = this.#create(input);
    this.#creating.set(input.digest, creating);
    try {
      return await creating;
    } finally {
      this.#creating.delete(input.digest);
    }
  }

  async spool(input: {
    digest: Digest;
    size: number;
    origin?: BlobOrigin | undefined;
  }): Promise<FsSpool> {
    this.#checkOpen();
    if (this.#spools >= SPOOLS_MAX || input.size <= UNCHUNKED_MAX_BYTES) {
      throw new StoreError(`no spool for ${input.size} bytes, ${this.#spools} are open`, {
        code: 'STORE_FULL',
        neededBytes: input.size,
        quotaBytes: this.#ledger.quotaBytes,
      });
    }
    const path = this.#paths.temporary();
    const entry: StoreEntry = {
      key: `spool:${path}`,
      bytes: input.size,
      heldBytes: () => 0,
      isEvictable: () => false,
      remove: () => Promise.resolve(),
    };
    this.#spools += 1;
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      this.#spools -= 1;
      this.#ledger.forget(entry.key);
    };
    try {
      await this.#ledger.admit(entry);
      await makeSparse(path, 0);
    } catch (err) {
      release();
      throw this.#noteRefusal(err);
    }
    const adopt = async (hashes: Buffer): Promise<StoredBlob> => {
      release();
      return this.#adopt(path, { ...input, hashes, statement: Buffer.alloc(0) });
    };
    return new FsSpool({ path, size: input.size }, { files: this.#files, adopt, release });
  }

  *list(): Iterable<StoredBlob> {
    for (const { blob } of this.#ledger.recent()) {
      if (blob !== undefined) yield blob;
    }
  }

  stats(): StoreStats {
    return {
      bytes: this.#ledger.heldBytes,
      reservedBytes: this.#ledger.bytes,
      blobs: this.#ledger.size,
      quotaBytes: this.#ledger.quotaBytes,
    };
  }

  /** Flushes what changed, within CLOSE_FLUSH_MS, so that it needs no check after a reboot. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#rechecker.close();
    await Promise.allSettled([...this.#creating.values(), ...this.#leaving.values()]);
    const flushUntil = performance.now() + CLOSE_FLUSH_MS;
    for (const { blob } of this.#blobs.values()) {
      try {
        await blob.close(performance.now() < flushUntil);
      } catch (err) {
        this.#modules.logger.warn({ err, digest: blob.digest }, 'blob not saved at the stop');
      }
    }
    await this.#files.close();
  }

  async #create(input: CreateBlob): Promise<StoredBlob> {
    const known = this.#blobs.get(input.digest)?.blob;
    if (known !== undefined) {
      if (known.size === input.size && known.hashes.equals(input.hashes)) {
        const isNews = input.statement.length > 0 && !known.statement.equals(input.statement);
        if (isNews) await known.certify(input.statement);
        return known;
      }
      await this.#drop(input.digest);
    }
    const { chunkCount } = layoutOf(input.size);
    return this.#build(input, new ChunkBitmap(chunkCount), (path) => makeSparse(path, input.size));
  }

  async #adopt(path: string, input: CreateBlob): Promise<StoredBlob> {
    const known = this.#blobs.get(input.digest)?.blob;
    if (known?.complete === true) {
      await this.#files.forget(path);
      await rm(path, { force: true });
      return known;
    }
    await this.#creating.get(input.digest);
    if (known !== undefined) await this.#drop(input.digest);
    const { chunkCount } = layoutOf(input.size);
    const have = ChunkBitmap.full(chunkCount);
    const blob = await this.#build(input, have, (data) => moveInto(path, data));
    await this.#files.forget(path);
    return blob;
  }

  async #build(
    facts: CreateBlob,
    have: ChunkBitmap,
    placeData: (path: string) => Promise<void>,
  ): Promise<StoredBlob> {
    if (facts.hashes.length !== layoutOf(facts.size).chunkCount * HASH_BYTES) {
      throw new StoreError('chunk hashes do not fit the size', { code: 'OUT_OF_RANGE' });
    }
    await this.#leaving.get(chunkedKey(facts.digest));
    const pending = new ChunkBitmap(have.size);
    const bootId = this.#bootId;
    const entry = this.#chunkedEntry(facts, { have, pending, bootId, clean: false, fresh: true });
    const { folder } = entry.blob;
    const hold = entry.blob.retain();
    try {
      await this.#ledger.admit(entry);
      await layDown({ folder, facts, have, bootId }, this.#paths, placeData);
    } catch (err) {
      this.#ledger.forget(entry.key);
      throw this.#noteRefusal(err);
    }
    this.#blobs.set(facts.digest, entry);
    // The caller retains it before this runs.
    setImmediate(() => hold[Symbol.dispose]());
    return entry.blob;
  }

  async #drop(digest: Digest): Promise<void> {
    const entry = this.#blobs.get(digest);
    if (entry === undefined) return;
    this.#ledger.forget(entry.key);
    this.#modules.metrics.evictions.inc({ reason: 'invalid' });
    await entry.remove();
  }

  async #takeOver(found: Found): Promise<void> {
    if (found.dropped > 0) {
      this.#modules.metrics.evictions.inc({ reason: 'invalid' }, found.dropped);
      this.#modules.logger.warn({ blobs: found.dropped }, 'removed damaged blobs from the store');
    }
    const entries: { usedMs: number; entry: StoreEntry }[] = [];
    for (const { digest, bytes, usedMs } of found.small) {
      entries.push({ usedMs, entry: this.#smallEntry(digest, bytes) });
    }
    for (const { facts, state, usedMs } of found.chunked) {
      const entry = this.#chunkedEntry(facts, state);
      this.#blobs.set(facts.digest, entry);
      entries.push({ usedMs, entry });
    }
    entries.sort((a, b) => a.usedMs - b.usedMs);
    for (const { entry } of entries) this.#ledger.adopt(entry);
    const excess = this.#ledger.bytes - this.#ledger.quotaBytes;
    if (excess > 0) await this.#ledger.shrink(excess, 'quota');
  }

  #smallEntry(digest: Digest, bytes: number): StoreEntry {
    const key = smallKey(digest);
    return {
      key,
      bytes,
      heldBytes: () => bytes,
      isEvictable: () => true,
      remove: () => this.#leave(key, this.#small.remove(digest)),
    };
  }

  #chunkedEntry(facts: CreateBlob, state: FsBlobState): ChunkedEntry {
    const key = chunkedKey(facts.digest);
    const blob = new FsBlob(facts, state, {
      paths: this.#paths,
      files: this.#files,
      rechecker: this.#rechecker,
      logger: this.#modules.logger,
      proving: this.#proving,
      makeRoom: (bytes) => this.#ledger.shrink(bytes, 'disk'),
    });
    return {
      key,
      bytes: facts.size,
      heldBytes: () => blob.bytes,
      blob,
      isEvictable: () => !blob.isRetained,
      remove: () => {
        this.#blobs.delete(facts.digest);
        return this.#leave(key, blob.remove());
      },
    };
  }

  /** While its files are being deleted, nothing new may take the place. */
  async #leave(key: string, removal: Promise<void>): Promise<void> {
    const done = removal.catch((err: unknown) => {
      this.#modules.logger.warn({ err }, 'files of an evicted blob were not deleted');
    });
    this.#leaving.set(key, done);
    await done;
    this.#leaving.delete(key);
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

function chunkedKey(digest: Digest): string {
  return `chunked:${digest}`;
}

function smallKey(digest: Digest): string {
  return `small:${digest}`;
}
