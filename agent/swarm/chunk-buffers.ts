import type { ChunkBytes } from '../fetch/ports.ts';
import { CHUNK_BUFFERS_KEPT_BYTES } from './lane/constants.ts';

/** A buffer out of the pool. */
export interface LentBuffer extends ChunkBytes {
  /** Instead of disposing: nobody gets the buffer again, because something may write into it. */
  discard(): void;
}

/** Chunk buffers used again and again: new ones cost a page fault per 4 KiB and a collection. */
export class ChunkBuffers {
  readonly #spare = new Map<number, Buffer[]>();
  readonly #keptMax: number;
  #kept = 0;
  #used = false;
  #out = 0;

  constructor(options: { keptBytes?: number } = {}) {
    this.#keptMax = options.keptBytes ?? CHUNK_BUFFERS_KEPT_BYTES;
  }

  /** Bytes handed out and not given back. */
  get bytesOut(): number {
    return this.#out;
  }

  /** Bytes of unused buffers. */
  get bytesKept(): number {
    return this.#kept;
  }

  /** A buffer of `length` bytes with any content. */
  take(length: number): LentBuffer {
    this.#used = true;
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(1, length)));
    const whole = this.#spare.get(capacity)?.pop();
    if (whole !== undefined) this.#kept -= capacity;
    const buffer = whole ?? Buffer.allocUnsafeSlow(capacity);
    this.#out += capacity;
    let held = true;
    const giveUp = (keep: boolean): void => {
      if (!held) return;
      held = false;
      this.#out -= capacity;
      if (keep) this.#keep(buffer, capacity);
    };
    return {
      bytes: buffer.subarray(0, length),
      discard: () => giveUp(false),
      [Symbol.dispose]: () => giveUp(true),
    };
  }

  /** Lets the spare buffers go when none was taken since the last rest. */
  rest(): void {
    if (!this.#used) {
      this.#spare.clear();
      this.#kept = 0;
    }
    this.#used = false;
  }

  #keep(buffer: Buffer, capacity: number): void {
    if (this.#kept + capacity > this.#keptMax) return;
    this.#kept += capacity;
    const spare = this.#spare.get(capacity) ?? [];
    this.#spare.set(capacity, spare);
    spare.push(buffer);
  }
}

/** Bytes in a buffer of their own, which nobody uses again. */
export function ownBytes(bytes: Buffer): ChunkBytes {
  return { bytes, [Symbol.dispose]: () => {} };
}
