import { layoutOf } from '../../proto/chunks/layout.ts';
import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { StoreError } from './errors.ts';
import type { BlobOrigin, CreateBlob } from './port.ts';

/** What is known of a blob, who keeps it and who wants to hear of its chunks, wherever they lie. */
export abstract class BlobBase {
  readonly digest: Digest;
  readonly size: number;
  readonly layout: ChunkLayout;
  readonly hashes: Buffer;
  readonly origin: BlobOrigin | undefined;
  readonly have: ChunkBitmap;
  readonly pending: ChunkBitmap;
  /** To be called when it is read, or opened for reading. */
  protected readonly used: () => void;
  /** Its statement; empty when nobody has signed one. */
  protected certified: Buffer;
  #holds = 0;
  readonly #listeners = new Set<(index: number) => void>();

  constructor(
    facts: CreateBlob,
    chunks: { have: ChunkBitmap; pending: ChunkBitmap },
    modules: { used: () => void },
  ) {
    this.digest = facts.digest;
    this.size = facts.size;
    this.layout = layoutOf(facts.size);
    this.hashes = facts.hashes;
    this.origin = facts.origin;
    this.have = chunks.have;
    this.pending = chunks.pending;
    this.certified = facts.statement;
    this.used = modules.used;
  }

  get statement(): Buffer {
    return this.certified;
  }

  get complete(): boolean {
    return this.have.complete;
  }

  get servable(): boolean {
    return this.certified.length > 0;
  }

  get isRetained(): boolean {
    return this.#holds > 0;
  }

  retain(): Disposable {
    this.used();
    return this.hold();
  }

  /** Keeps it like retain(), for one who does not read for anybody. */
  hold(): Disposable {
    this.#holds += 1;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.#holds -= 1;
        held = false;
      },
    };
  }

  onChange(listener: (index: number) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  protected tell(index: number): void {
    for (const listener of this.#listeners) listener(index);
  }

  /** The chunks that a read touches. @throws StoreError OUT_OF_RANGE */
  protected chunksAt(position: number, length: number): number[] {
    const end = position + length;
    if (!Number.isSafeInteger(position) || position < 0 || end > this.size) {
      throw new StoreError(`bytes ${position} to ${end} of ${this.size}`, { code: 'OUT_OF_RANGE' });
    }
    const { chunkBytes } = this.layout;
    const touched: number[] = [];
    for (let index = Math.floor(position / chunkBytes); index * chunkBytes < end; index += 1) {
      touched.push(index);
    }
    return touched;
  }
}
