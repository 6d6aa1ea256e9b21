import { layoutOf } from '../../proto/chunks/layout.ts';
import type { Semaphore } from '../../proto/std/semaphore.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { BlobBase } from './blob-base.ts';
import { ChunkProver } from './chunk-prover.ts';
import { StoreError } from './errors.ts';
import type { NodeContent } from './node-content.ts';
import type { CreateBlob, StoredBlob } from './port.ts';

/** Why a blob that another program keeps is had no more. */
export type NodeLoss = 'vanished' | 'damaged';

export type NodeBlobModules = {
  content: NodeContent;
  proving: Semaphore;
  used: () => void;
  /** It is had no more. */
  lost: (why: NodeLoss) => void;
  /** Deletes what is kept here about it. */
  remove: () => Promise<void>;
  /** Keeps these facts. */
  save: (facts: CreateBlob) => Promise<void>;
};

/**
 * A blob whose bytes lie in the content folder of containerd. It is there as a whole or not at all:
 * every chunk is hashed before its first use, and the first that is wrong or gone ends it.
 */
export class NodeBlob extends BlobBase implements StoredBlob {
  readonly kind = 'node';
  /** It takes no room of ours. */
  readonly bytes = 0;
  #gone = false;
  readonly #modules: NodeBlobModules;
  readonly #prover: ChunkProver;
  /** The file whose bytes are proved; another one of that name is another blob. */
  #identity: Promise<string | undefined> | undefined;

  constructor(facts: CreateBlob, modules: NodeBlobModules) {
    const { chunkCount } = layoutOf(facts.size);
    const chunks = { have: ChunkBitmap.full(chunkCount), pending: new ChunkBitmap(chunkCount) };
    super(facts, chunks, modules);
    this.#modules = modules;
    const { proving } = modules;
    const fill = (into: Buffer, position: number) => this.#fill(into, position);
    this.#prover = new ChunkProver(this, { proving, fill });
  }

  /** Never: containerd keeps these bytes, we do not. */
  write(): Promise<void> {
    return Promise.reject(this.#goneError());
  }

  async read(into: Buffer, position: number): Promise<void> {
    if (this.#gone) throw this.#goneError();
    this.used();
    for (const index of this.chunksAt(position, into.length)) {
      // oxlint-disable-next-line no-await-in-loop -- one chunk in memory at a time
      if (!this.#prover.has(index)) await this.#prover.prove(index, () => {});
      // oxlint-disable-next-line no-await-in-loop -- the look that tells why
      if (!this.#prover.has(index)) await this.#lose();
      if (this.#gone) throw this.#goneError();
    }
    if (await this.#fill(into, position)) return;
    await this.#lose();
    throw this.#goneError();
  }

  /** Nothing of it is ever pending: every chunk is hashed before its first use. */
  recheck(): void {}

  async scrubChunk(index: number, buffer: Buffer): Promise<boolean> {
    if (this.#gone || (await this.#prover.isIntact(index, buffer))) return true;
    return (await this.#lose()) === 'vanished';
  }

  async certify(statement: Buffer): Promise<void> {
    const { digest, size, hashes, origin } = this;
    await this.#modules.save({ digest, size, hashes, origin, statement });
    this.certified = statement;
  }

  /** Looks whether the file is still there. */
  async look(): Promise<void> {
    if (!this.#gone && !(await this.#isThere())) await this.#lose();
  }

  /** Nothing to flush. */
  async settle(): Promise<void> {}

  /** Nothing to flush. */
  async close(): Promise<void> {}

  /** Deletes what is kept here; the bytes are not ours. */
  async remove(): Promise<void> {
    this.#end();
    await this.#modules.remove();
  }

  async #fill(into: Buffer, position: number): Promise<boolean> {
    const { content } = this.#modules;
    this.#identity ??= content.identity(this.digest);
    return content.read(this.digest, { identity: await this.#identity, position }, into);
  }

  async #lose(): Promise<NodeLoss> {
    const isThere = await this.#isThere();
    const why = isThere ? 'damaged' : 'vanished';
    if (this.#gone) return why;
    this.#end();
    this.#modules.lost(why);
    return why;
  }

  async #isThere(): Promise<boolean> {
    const { content } = this.#modules;
    const [now, known] = await Promise.all([content.identity(this.digest), this.#identity]);
    // What could not be opened when it was first read has no bytes that could be wrong.
    if (this.#identity !== undefined) return known !== undefined && now === known;
    return (await content.size(this.digest)) === this.size;
  }

  #end(): void {
    this.#gone = true;
    const lost = Array.from(this.have.present());
    for (const index of lost) {
      this.have.clear(index);
      this.#prover.clear(index);
      this.tell(index);
    }
  }

  #goneError(): StoreError {
    const { digest } = this;
    return new StoreError(`containerd has ${digest} no more`, { code: 'EVICTED', digest });
  }
}
