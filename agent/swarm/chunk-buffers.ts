import type { ChunkBytes } from '../fetch/ports.ts';
import { freeBuffer } from '../../proto/std/free-buffer.ts';
import { CHUNK_BUFFERS_BYTES } from './lane/constants.ts';

/** A buffer out of the pool. */
export interface LentBuffer extends ChunkBytes {
  /** Instead of disposing: nobody gets the buffer again, because something may write into it. */
  discard(): void;
}

/**
 * Chunk buffers used again and again: new ones cost a page fault per 4 KiB and a collection. Those
 * handed out and those kept share one bound; handed out are as many as are asked for.
 */
export class ChunkBuffers {
  readonly #spare = new Map<number, Buffer<ArrayBuffer>[]>();
  readonly #max: number;
  #kept = 0;
  #used = false;
  #out = 0;

  constructor(options: { bytes?: number } = {}) {
    this.#max = options.bytes ?? CHUNK_BUFFERS_BYTES;
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
    this.#out += capacity;
    this.#trim();
    const buffer = whole ?? Buffer.allocUnsafeSlow(capacity);
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
    if (!this.#used) this.#trim(0);
    this.#used = false;
  }

  #keep(buffer: Buffer<ArrayBuffer>, capacity: number): void {
    this.#kept += capacity;
    const spare = this.#spare.get(capacity) ?? [];
    this.#spare.set(capacity, spare);
    spare.push(buffer);
    this.#trim();
  }

  /** Frees unused buffers, whatever their size, until all together are within the bound. */
  #trim(max: number = this.#max): void {
    for (const [capacity, spare] of this.#spare) {
      while (this.#kept > 0 && this.#out + this.#kept > max) {
        const buffer = spare.pop();
        if (buffer === undefined) break;
        freeBuffer(buffer);
        this.#kept -= capacity;
      }
    }
  }
}

/** Bytes in a buffer of their own, which nobody uses again. */
export function ownBytes(bytes: Buffer): ChunkBytes {
  return { bytes, [Symbol.dispose]: () => {} };
}
