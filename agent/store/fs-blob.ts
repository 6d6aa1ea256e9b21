import { fstatSync } from 'node:fs';
import { rm, utimes } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { chunkRange } from '../../proto/chunks/layout.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { encodeBitmap } from './bitmap-file.ts';
import { BitmapSaver } from './bitmap-saver.ts';
import { BlobBase } from './blob-base.ts';
import { BITMAP_FILE, DATA_FILE, META_FILE } from './blob-paths.ts';
import type { BlobPaths } from './blob-paths.ts';
import { ChunkProver } from './chunk-prover.ts';
import { TOUCH_INTERVAL_MS } from './constants.ts';
import type { Semaphore } from '../../proto/std/semaphore.ts';
import { makeSparse } from './blob-files.ts';
import { isUnreadable, StoreError, storeErrorOf } from './errors.ts';
import type { FileCache } from './file-cache.ts';
import { isMissing, readFully, replaceFile, writeFully } from './files.ts';
import { encodeMeta } from './meta-file.ts';
import type { CreateBlob, StoredBlob } from './port.ts';
import type { Rechecker } from './rechecker.ts';

export type FsBlobState = {
  have: ChunkBitmap;
  pending: ChunkBitmap;
  bootId: string;
  /** The bitmap file says that the data is flushed. */
  clean: boolean;
  /** The chunks had were hashed by this process. */
  fresh?: boolean;
};

export type FsBlobModules = {
  paths: BlobPaths;
  files: FileCache;
  rechecker: Rechecker;
  logger: Logger;
  /** Frees at least this much on the file system; false when nothing could be evicted. */
  makeRoom: (bytes: number) => Promise<boolean>;
  /** A turn for each chunk that is read back as a whole. */
  proving: Semaphore;
  /** It was read, or opened for reading. */
  used: () => void;
  /** A chunk came or was lost. */
  changed: () => void;
};

/** A chunked blob as a sparse file, a file of facts and a bitmap file in one folder. */
export class FsBlob extends BlobBase implements StoredBlob {
  readonly kind = 'chunked';
  readonly folder: string;
  readonly #dataPath: string;
  #gone = false;
  #clean: boolean;
  #touchedMs = 0;
  #changes = 0;
  readonly #bootId: string;
  readonly #modules: FsBlobModules;
  readonly #prover: ChunkProver;
  readonly #saver: BitmapSaver;

  constructor(facts: CreateBlob, state: FsBlobState, modules: FsBlobModules) {
    super(facts, state, modules);
    const fill = (into: Buffer, position: number) => this.#fill(into, position);
    this.#prover = new ChunkProver(this, { proving: modules.proving, fill });
    if (state.fresh === true) for (const index of state.have.present()) this.#prover.set(index);
    this.folder = modules.paths.chunked(facts.digest);
    this.#dataPath = join(this.folder, DATA_FILE);
    this.#bootId = state.bootId;
    this.#clean = state.clean;
    this.#modules = modules;
    this.#saver = new BitmapSaver((clean) => this.#saveBitmap(clean), modules.logger);
  }

  /** Verified bytes. */
  get bytes(): number {
    let bytes = this.have.count * this.layout.chunkBytes;
    const last = this.layout.chunkCount - 1;
    if (this.have.has(last)) bytes += this.#prover.lengthOf(last) - this.layout.chunkBytes;
    return bytes;
  }

  async write(index: number, bytes: Buffer, begun?: () => void): Promise<void> {
    this.#checkPresent();
    const { start, end } = chunkRange(this.layout, index);
    if (bytes.length !== end - start) {
      throw new StoreError(`chunk ${index} has ${end - start} bytes, not ${bytes.length}`, {
        code: 'OUT_OF_RANGE',
      });
    }
    if (this.have.has(index)) return;
    begun?.();
    try {
      await this.#writeAt(bytes, start);
    } catch (err) {
      const roomMade = err instanceof StoreError && err.code === 'DISK_FULL';
      if (!roomMade || !(await this.#modules.makeRoom(bytes.length))) throw err;
      this.#checkPresent();
      await this.#writeAt(bytes, start);
    }
    this.#checkPresent();
    this.#mark(index);
  }

  async read(into: Buffer, position: number): Promise<void> {
    const touched = await this.#proved(position, into.length);
    if (await this.#fill(into, position)) return;
    for (const index of touched) this.#lose(index);
    throw this.#corrupt(touched[0] ?? 0);
  }

  async withFile<T>(
    position: number,
    length: number,
    task: (file: number) => Promise<T>,
  ): Promise<T | undefined> {
    await this.#proved(position, length);
    try {
      return await this.#use(({ fd }) => task(fd));
    } catch (err) {
      // read() tells what is wrong with it.
      if (isUnreadable(err)) return undefined;
      throw storeErrorOf(err, this.#dataPath);
    }
  }

  /** Starts to check what an earlier boot left, if anything. */
  recheck(): void {
    if (this.pending.count > 0 && !this.#gone) this.#modules.rechecker.start(this);
  }

  /** Reads one pending chunk back and keeps it if its hash is right. */
  async recheckChunk(index: number, buffer: Buffer): Promise<boolean> {
    if (this.#gone || !this.pending.has(index)) return false;
    const good = await this.#prover.isIntact(index, buffer);
    if (this.#gone) return false;
    this.pending.clear(index);
    if (good) this.#mark(index);
    else this.tell(index);
    return good;
  }

  /** Reads a chunk that is had back and lets go of it unless its hash is right. */
  async scrubChunk(index: number, buffer: Buffer): Promise<boolean> {
    if (this.pending.has(index)) return this.recheckChunk(index, buffer);
    if (this.#gone || !this.have.has(index)) return true;
    const good = await this.#prover.isIntact(index, buffer);
    if (this.#gone || !this.have.has(index)) return true;
    if (good) this.#prover.set(index);
    else this.#lose(index);
    return good;
  }

  /** Adds the statement to a blob that was stored without one. */
  async certify(statement: Buffer): Promise<void> {
    const { digest, size, hashes, origin } = this;
    const meta = encodeMeta({ digest, size, hashes, origin, statement });
    await replaceFile(join(this.folder, META_FILE), this.#modules.paths.temporary(), meta);
    this.certified = statement;
  }

  /** Remembers the use on disk, so that the order of eviction outlives a restart. */
  touch(nowMs: number): void {
    if (nowMs - this.#touchedMs < TOUCH_INTERVAL_MS) return;
    this.#touchedMs = nowMs;
    const seconds = nowMs / 1000;
    utimes(join(this.folder, META_FILE), seconds, seconds).catch((err: unknown) => {
      this.#modules.logger.debug({ err }, 'time of use not saved');
    });
  }

  /** Flushes and saves what is not in use any more, so that it needs no check after a reboot. */
  async settle(): Promise<void> {
    if (this.#gone || this.#clean || this.isRetained) return;
    const changes = this.#changes;
    await this.#use((file) => file.datasync());
    if (this.#gone || this.#changes !== changes) return;
    await this.#saveBitmap(true);
    this.#clean = this.#changes === changes;
  }

  /** Flushes and saves for a clean stop. `flush` false: the bits are checked after a reboot. */
  async close(flush: boolean): Promise<void> {
    if (this.#gone || this.#clean) return;
    if (flush) await this.#use((file) => file.datasync());
    await this.#saver.finish(flush);
    this.#clean = flush;
  }

  /** Deletes the files. Facts first: without them the folder is no blob. */
  async remove(): Promise<void> {
    this.#gone = true;
    await this.#saver.abandon();
    await rm(join(this.folder, META_FILE), { force: true });
    await this.#modules.files.forget(this.#dataPath);
    await rm(this.folder, { recursive: true, force: true });
  }

  /** The chunks of a range, all of them verified. Throws as read() does. */
  async #proved(position: number, length: number): Promise<number[]> {
    this.#checkPresent();
    this.used();
    const touched = this.chunksAt(position, length);
    const absent = touched.find((index) => !this.have.has(index));
    if (absent !== undefined) throw this.#notVerified(absent);
    for (const index of touched) {
      // oxlint-disable-next-line no-await-in-loop -- one chunk in memory at a time
      if (!this.#prover.has(index) && !(await this.#prove(index))) throw this.#corrupt(index);
    }
    // While a chunk was proved another reader may have found it lost, or the blob may be gone.
    this.#checkPresent();
    const lost = touched.find((index) => !this.have.has(index));
    if (lost !== undefined) throw this.#notVerified(lost);
    return touched;
  }

  /** Hashes a chunk of an earlier run before its first use in this one; false: it is lost. */
  async #prove(index: number): Promise<boolean> {
    const good = await this.#prover.prove(index, (isGood) => {
      if (!isGood && !this.#gone) this.#lose(index);
    });
    this.#checkPresent();
    return good;
  }

  /** Never after the end: a file opened then would stay open for the next blob of this digest. */
  #use<T>(task: (file: FileHandle) => Promise<T>): Promise<T> {
    this.#checkPresent();
    return this.#modules.files.use(this.#dataPath, task);
  }

  async #writeAt(bytes: Buffer, position: number): Promise<void> {
    const write = (): Promise<void> =>
      this.#use(async (file) => {
        // Writing to a file that was cut would make zeros of what it held. Facts of an open file
        // are in memory: a turn of the thread pool would cost more than the call.
        if (fstatSync(file.fd).size < this.size) this.#loseAll();
        await writeFully(file, bytes, position);
      });
    try {
      await write();
    } catch (err) {
      if (!isMissing(err) || this.#gone) throw storeErrorOf(err, this.#dataPath);
      this.#loseAll();
      await this.#replaceData();
      await write();
    }
  }

  async #replaceData(): Promise<void> {
    try {
      await makeSparse(this.#dataPath, this.size);
    } catch (err) {
      throw storeErrorOf(err, this.#dataPath);
    }
  }

  /** False when the file does not have these bytes any more, or cannot give them. */
  async #fill(into: Buffer, position: number): Promise<boolean> {
    try {
      const done = await this.#use((file) => readFully(file, into, position));
      return done === into.length;
    } catch (err) {
      if (isUnreadable(err)) return false;
      throw storeErrorOf(err, this.#dataPath);
    }
  }

  #mark(index: number): void {
    this.pending.clear(index);
    this.#prover.set(index);
    if (this.have.set(index)) this.#changed(index);
  }

  #loseAll(): void {
    for (const index of this.have.present()) this.#lose(index);
  }

  #lose(index: number): void {
    this.#prover.clear(index);
    if (this.have.clear(index)) this.#changed(index);
  }

  #changed(index: number): void {
    this.#clean = false;
    this.#changes += 1;
    this.#saver.changed(this.#prover.lengthOf(index));
    this.#modules.changed();
    this.tell(index);
  }

  async #saveBitmap(clean: boolean): Promise<void> {
    if (this.#gone) return;
    const saved = { have: this.have, pending: this.pending, bootId: this.#bootId, clean };
    const path = join(this.folder, BITMAP_FILE);
    await replaceFile(path, this.#modules.paths.temporary(), encodeBitmap(saved));
  }

  #checkPresent(): void {
    if (!this.#gone) return;
    throw new StoreError(`${this.digest} was evicted`, { code: 'EVICTED', digest: this.digest });
  }

  #corrupt(index: number): StoreError {
    return new StoreError(`chunk ${index} in ${this.#dataPath} is damaged`, {
      code: 'CORRUPT',
      path: this.folder,
    });
  }

  #notVerified(index: number): StoreError {
    return new StoreError(`chunk ${index} of ${this.digest} is not verified yet`, {
      code: 'NOT_VERIFIED',
      digest: this.digest,
      index,
    });
  }
}
