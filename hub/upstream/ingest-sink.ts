import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { abortable } from '../../proto/std/abort.ts';
import { CodedError } from '../../proto/std/errors.ts';
import type { IngestBytes } from './ingest-bytes.ts';
import type { Sink } from './ingest-stream.ts';
import {
  INGEST_FIRST_BATCH_BYTES,
  INGEST_FIRST_BYTES,
  PARK_BYTES,
  PARKS_MAX,
} from './pull-constants.ts';
import type { Wish } from './wish.ts';

type Options = {
  /** Bytes of the whole. */
  size: number;
};

type Modules = {
  bytes: Pick<IngestBytes, 'size' | 'append'>;
  /** Notes where another hub goes on; false when another one has it now. */
  park: () => Promise<boolean>;
  /** Most bytes to gather now. */
  batchBytes: () => number;
  /** So many more are here. */
  onBytes: (count: number) => void;
  /** Somebody wants it. */
  wish: Wish;
  signal: AbortSignal;
};

/** Gathers pieces of a blob, stores them in batches, and parks them at whole leaves. */
export class IngestSink implements Sink {
  readonly #whole: number;
  readonly #parkBytes: number;
  readonly #modules: Modules;
  #batch: Buffer[] = [];
  #gathered = 0;
  #parkedAt: number;

  constructor({ size }: Options, modules: Modules) {
    this.#whole = size;
    this.#parkBytes = parkBytesOf(size);
    this.#modules = modules;
    this.#parkedAt = modules.bytes.size;
  }

  get size(): number {
    return this.#modules.bytes.size + this.#gathered;
  }

  async take(slice: Buffer): Promise<void> {
    const { wish, signal } = this.#modules;
    if (!wish.isMade && this.size >= INGEST_FIRST_BYTES) await abortable(wish.made, signal);
    this.#batch.push(slice);
    this.#gathered += slice.length;
    const { bytes } = this.#modules;
    // The first bytes, and the end of each leaf, are wanted at once.
    const isFirst = bytes.size === 0;
    const endsLeaf = this.#gathered >= LEAF_BYTES - (bytes.size % LEAF_BYTES);
    if (isFirst || endsLeaf || this.#gathered >= this.#batchMax()) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#gathered === 0) return;
    const { bytes } = this.#modules;
    const toLeaf = this.#gathered - (this.size % LEAF_BYTES);
    const parkAt = bytes.size + toLeaf;
    const isDue = parkAt - this.#parkedAt >= this.#parkBytes;
    const isWorth = this.#whole - parkAt >= this.#parkBytes;
    if (!isDue || !isWorth || toLeaf <= 0) return this.#write(this.#gathered);
    await this.#write(toLeaf);
    await this.#park();
    if (this.#gathered > 0 && bytes.size > 0) await this.#write(this.#gathered);
  }

  /** Parks what is here if it ends with a leaf. @throws CodedError HELD_ELSEWHERE */
  async parkEnd(): Promise<void> {
    const { bytes } = this.#modules;
    if (bytes.size > this.#parkedAt && bytes.size % LEAF_BYTES === 0) await this.#park();
  }

  #batchMax(): number {
    const { bytes, batchBytes } = this.#modules;
    const isBegun = bytes.size >= INGEST_FIRST_BYTES;
    return isBegun ? batchBytes() : Math.min(INGEST_FIRST_BATCH_BYTES, batchBytes());
  }

  async #park(): Promise<void> {
    const { bytes, park } = this.#modules;
    if (!(await park())) {
      throw new CodedError('another hub goes on with the blob', { code: 'HELD_ELSEWHERE' });
    }
    this.#parkedAt = bytes.size;
  }

  async #write(count: number): Promise<void> {
    const { bytes, onBytes } = this.#modules;
    const slices = this.#taken(count);
    await bytes.append(slices);
    onBytes(count);
  }

  /** The first `count` gathered bytes. */
  #taken(count: number): Buffer[] {
    const taken: Buffer[] = [];
    let left = count;
    while (left > 0) {
      const slice = this.#batch.shift();
      if (slice === undefined) break;
      taken.push(slice.length > left ? slice.subarray(0, left) : slice);
      if (slice.length > left) this.#batch.unshift(slice.subarray(left));
      left -= Math.min(left, slice.length);
    }
    this.#gathered -= count;
    return taken;
  }
}

/** Twice as many for blobs twice as large, from some size on. */
function parkBytesOf(size: number): number {
  let bytes = PARK_BYTES;
  while (bytes * PARKS_MAX < size) bytes *= 2;
  return bytes;
}
