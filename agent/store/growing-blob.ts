import { rm } from 'node:fs/promises';
import { chunkRange, layoutOf } from '../../proto/chunks/layout.ts';
import { HASH_BYTES } from '../../proto/chunks/merkle.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { BlobBase } from './blob-base.ts';
import { StoreError, storeErrorOf } from './errors.ts';
import type { FileCache } from './file-cache.ts';
import { readFully, writeFully } from './files.ts';
import { Gate } from './gate.ts';
import type { CreateBlob, GrowBlob, GrowingBlob, StoredBlob } from './port.ts';

export type GrowingModules = {
  files: FileCache;
  /** Makes a blob like any other of the file. */
  adopt: (facts: CreateBlob, have: ChunkBitmap) => Promise<StoredBlob>;
  /** Frees at least this much on the file system; false when nothing could be evicted. */
  makeRoom: (bytes: number) => Promise<boolean>;
  /** It is settled, or dropped. */
  ended: (settled: boolean) => void;
};

/** What was checked in sessions that are over: the chunks, and what they hashed to. */
type Former = { kept: ChunkBitmap; hashes: Buffer };

function hashAt(row: Buffer, index: number): Buffer {
  return row.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
}

/** A growing blob in a temporary file, which a crash leaves to be cleared away. */
export class FsGrowingBlob extends BlobBase implements GrowingBlob {
  readonly #path: string;
  readonly #modules: GrowingModules;
  readonly #gate = new Gate();
  readonly #former: Former;
  #session: Buffer;
  #final: StoredBlob | undefined;
  #gone = false;
  /** Keeps the final blob for who held it before it was one. */
  #carried: Disposable | undefined;

  constructor(input: GrowBlob, path: string, modules: GrowingModules) {
    const { chunkCount } = layoutOf(input.size);
    const hashes = Buffer.alloc(chunkCount * HASH_BYTES);
    const statement = Buffer.alloc(0);
    const have = new ChunkBitmap(chunkCount);
    const pending = ChunkBitmap.full(chunkCount);
    super({ ...input, hashes, statement }, { have, pending }, { used: () => {} });
    this.#path = path;
    this.#modules = modules;
    this.#session = input.session;
    this.#former = { kept: new ChunkBitmap(chunkCount), hashes: Buffer.alloc(hashes.length) };
  }

  get session(): Buffer {
    return this.#session;
  }

  get settled(): boolean {
    return this.#final !== undefined;
  }

  /** Before it is settled nobody knows whether it is what its digest says. */
  override get complete(): boolean {
    return this.#final?.complete === true;
  }

  learn(first: number, hashes: Buffer): number {
    if (this.#gone || this.#final !== undefined) return 0;
    const count = Math.min(hashes.length / HASH_BYTES, this.layout.chunkCount - first);
    let others = 0;
    for (let at = 0; at < count; at += 1) {
      const index = first + at;
      if (!this.pending.has(index)) continue;
      hashAt(hashes, at).copy(this.hashes, index * HASH_BYTES);
      this.pending.clear(index);
      if (!this.#recall(index)) others += 1;
      this.tell(index);
    }
    return others;
  }

  renew(session: Buffer): Promise<void> {
    return this.#gate.alone(() => {
      if (this.#gone || this.#final !== undefined) return;
      this.#session = session;
      const had = [...this.have.present()];
      for (const index of had) {
        hashAt(this.hashes, index).copy(this.#former.hashes, index * HASH_BYTES);
        this.#former.kept.set(index);
        this.have.clear(index);
      }
      this.hashes.fill(0);
      const known = [...this.pending.missing()];
      for (const index of known) this.pending.set(index);
      for (const index of known) this.tell(index);
    });
  }

  async write(index: number, bytes: Buffer, begun?: () => void): Promise<void> {
    const session = this.#session;
    const { start, end } = chunkRange(this.layout, index);
    await this.#gate.together(async () => {
      this.#checkPresent();
      if (this.#final !== undefined) return this.#final.write(index, bytes, begun);
      // What the bytes were checked against may not count any more.
      if (session !== this.#session || bytes.length !== end - start) throw this.#unverified(index);
      if (this.have.has(index)) return undefined;
      begun?.();
      await this.#writeAt(bytes, start);
      this.#checkPresent();
      if (this.have.set(index)) this.tell(index);
      return undefined;
    });
  }

  async read(into: Buffer, position: number): Promise<void> {
    await this.#gate.together(async () => {
      this.#checkPresent();
      if (this.#final !== undefined) return this.#final.read(into, position);
      const absent = this.chunksAt(position, into.length).find((index) => !this.have.has(index));
      if (absent !== undefined) throw this.#unverified(absent);
      const done = await this.#fill(into, position);
      this.#checkPresent();
      if (done === into.length) return undefined;
      throw new StoreError(`${this.#path} was cut`, { code: 'CORRUPT', path: this.#path });
    });
  }

  settle(
    { statement, hashes }: { statement: Buffer; hashes: Buffer },
    judge: (others: number) => void = () => {},
  ): Promise<void> {
    return this.#gate.alone(async () => {
      this.#checkPresent();
      if (this.#final !== undefined) return;
      const { digest, size, origin } = this;
      const news = this.#compare(hashes);
      judge(news.others);
      const facts = { digest, size, statement, hashes, origin };
      // From here on the file may be where others find it.
      const final = await this.#modules.adopt(facts, this.have);
      hashes.copy(this.hashes);
      this.certified = statement;
      this.#final = final;
      if (this.isRetained) this.#carried = final.retain();
      this.#take(final, news.changed);
      this.#modules.ended(true);
    });
  }

  async discard(): Promise<void> {
    if (this.#gone || this.#final !== undefined) return;
    this.#gone = true;
    const had = [...this.have.present()];
    for (const index of had) this.have.clear(index);
    this.#modules.ended(false);
    await this.#modules.files.forget(this.#path);
    await rm(this.#path, { force: true });
  }

  override hold(): Disposable {
    if (this.#final !== undefined) return this.#final.retain();
    const held = super.hold();
    return {
      [Symbol.dispose]: () => {
        held[Symbol.dispose]();
        if (this.isRetained) return;
        this.#carried?.[Symbol.dispose]();
        this.#carried = undefined;
      },
    };
  }

  /** False when the chunk of an earlier session is another one than this of the same place. */
  #recall(index: number): boolean {
    const { kept, hashes } = this.#former;
    if (!kept.has(index)) return true;
    kept.clear(index);
    if (!hashAt(hashes, index).equals(hashAt(this.hashes, index))) return false;
    this.have.set(index);
    return true;
  }

  /** Keeps the chunks that these hashes are of. */
  #compare(hashes: Buffer): { others: number; changed: number[] } {
    let others = 0;
    const changed: number[] = [];
    for (let index = 0; index < this.layout.chunkCount; index += 1) {
      const right = hashAt(hashes, index);
      const isKnown = !this.pending.has(index);
      if (isKnown && right.equals(hashAt(this.hashes, index))) continue;
      changed.push(index);
      right.copy(this.hashes, index * HASH_BYTES);
      this.pending.clear(index);
      if (this.have.clear(index) || !this.#recall(index)) others += 1;
    }
    return { others, changed };
  }

  /** Shows the chunks of the final blob, which may be another one that was there already. */
  #take(final: StoredBlob, changed: readonly number[]): void {
    const other = final.have === this.have ? [] : [...this.have.differing(final.have)];
    final.onChange((index) => {
      this.#mirror(final, index);
      this.tell(index);
    });
    for (const index of other) this.#mirror(final, index);
    for (const index of new Set([...changed, ...other])) this.tell(index);
    // Also where nothing has changed it may be complete now.
    this.tell(this.layout.chunkCount - 1);
  }

  #mirror(final: StoredBlob, index: number): void {
    if (final.have === this.have) return;
    if (final.have.has(index)) this.have.set(index);
    else this.have.clear(index);
  }

  async #writeAt(bytes: Buffer, position: number): Promise<void> {
    const write = () =>
      this.#modules.files.use(this.#path, (file) => writeFully(file, bytes, position));
    try {
      await write();
    } catch (err) {
      const failure = storeErrorOf(err, this.#path);
      if (failure.code !== 'DISK_FULL' || !(await this.#modules.makeRoom(bytes.length))) {
        throw failure;
      }
      await write();
    }
  }

  async #fill(into: Buffer, position: number): Promise<number> {
    try {
      return await this.#modules.files.use(this.#path, (file) => readFully(file, into, position));
    } catch (err) {
      throw storeErrorOf(err, this.#path);
    }
  }

  #checkPresent(): void {
    if (!this.#gone) return;
    throw new StoreError(`${this.digest} was dropped`, { code: 'EVICTED', digest: this.digest });
  }

  #unverified(index: number): StoreError {
    return new StoreError(`chunk ${index} of ${this.digest} is not verified yet`, {
      code: 'NOT_VERIFIED',
      digest: this.digest,
      index,
    });
  }
}
