import {
  UPLOAD_BUFFER_BYTES,
  UPLOAD_LARGE_BUFFERS_MAX,
  UPLOAD_SMALL_BUFFER_BYTES,
} from './constants.ts';
import { freeBuffer } from '../../proto/std/free-buffer.ts';

/** A buffer out of the pool, with any content. */
export interface UploadBuffer extends Disposable {
  readonly bytes: Buffer;
  /** Instead of disposing: nobody gets the buffer again, because something may still read it. */
  discard(): void;
}

/**
 * Buffers between the store and the sockets of peers, used again and again. Large ones cost least,
 * and only so many are out at a time; then there are small ones, for as many as upload.
 */
export class UploadBuffers {
  readonly #large: Buffer<ArrayBuffer>[] = [];
  readonly #small: Buffer<ArrayBuffer>[] = [];
  #largeOut = 0;
  #used = false;

  /** Bytes of unused buffers. */
  get bytesKept(): number {
    return [...this.#large, ...this.#small].reduce((sum, { length }) => sum + length, 0);
  }

  /** A buffer for `wanted` bytes, or for as many of them as fit into one now. */
  take(wanted: number): UploadBuffer {
    this.#used = true;
    const isLarge = wanted > UPLOAD_SMALL_BUFFER_BYTES && this.#largeOut < UPLOAD_LARGE_BUFFERS_MAX;
    const spare = isLarge ? this.#large : this.#small;
    const size = isLarge ? UPLOAD_BUFFER_BYTES : UPLOAD_SMALL_BUFFER_BYTES;
    const bytes = spare.pop() ?? Buffer.allocUnsafeSlow(size);
    if (isLarge) this.#largeOut++;
    let held = true;
    const giveUp = (keep: boolean): void => {
      if (!held) return;
      held = false;
      if (isLarge) this.#largeOut--;
      if (keep) spare.push(bytes);
    };
    return { bytes, discard: () => giveUp(false), [Symbol.dispose]: () => giveUp(true) };
  }

  /** Lets the spare buffers go when none was taken since the last rest. */
  rest(): void {
    if (!this.#used) {
      for (const buffer of [...this.#large.splice(0), ...this.#small.splice(0)]) freeBuffer(buffer);
    }
    this.#used = false;
  }
}
