import { FRAME_BUFFER_MAX_BYTES } from './constants.ts';
import { SwarmError } from './errors.ts';

const LENGTH_BYTES_MAX = 5;
// Small slices are gathered into blocks, so that a sender of single bytes costs no object each.
const SMALL_SLICE_BYTES = 1024;
const BLOCK_BYTES = 4096;

/** One frame: unsigned varint length (multiformats), then the payload. */
export function encodeFrame(payload: Uint8Array): Buffer {
  const prefix: number[] = [];
  let rest = payload.length;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) prefix.push((rest & 0x7f) | 0x80);
  prefix.push(rest);
  return Buffer.concat([Buffer.from(prefix), payload]);
}

/**
 * Takes a stream in any slicing and gives back frames, and raw bytes between frames. A length is
 * checked against the limit before anything is allocated for it, and memory for a frame that has
 * not arrived is never reserved.
 */
export class FrameReader {
  readonly #maxBytes: number;
  readonly #bufferMaxBytes: number;
  #slices: Uint8Array[] = [];
  #block: Buffer = Buffer.alloc(0);
  #blockUsed = 0;
  #buffered = 0;
  #need: number | undefined;

  /** `maxBytes`: largest payload of a frame. `bufferMaxBytes`: most unread bytes. */
  constructor(options: { maxBytes: number; bufferMaxBytes?: number }) {
    this.#maxBytes = options.maxBytes;
    this.#bufferMaxBytes = options.bufferMaxBytes ?? FRAME_BUFFER_MAX_BYTES;
  }

  /** Bytes pushed and not yet read. */
  get buffered(): number {
    return this.#buffered;
  }

  /** True between frames, with no byte pending: a stream may end here. */
  get idle(): boolean {
    return this.#buffered === 0 && this.#need === undefined;
  }

  /**
   * Adds bytes from the stream. Large slices are kept by reference until they are read.
   * @throws SwarmError FRAME_OVERFLOW
   */
  push(slice: Uint8Array): void {
    if (slice.length === 0) return;
    if (this.#buffered + slice.length > this.#bufferMaxBytes) {
      throw new SwarmError(`more than ${this.#bufferMaxBytes} unread bytes`, {
        code: 'FRAME_OVERFLOW',
      });
    }
    this.#buffered += slice.length;
    if (slice.length >= SMALL_SLICE_BYTES) {
      this.#slices.push(slice);
      return;
    }
    if (!this.#extendLast(slice)) {
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      this.#block.set(slice);
      this.#blockUsed = slice.length;
      this.#slices.push(this.#block.subarray(0, slice.length));
    }
  }

  /**
   * The payload of the next frame, or undefined until it has arrived whole.
   * @throws SwarmError FRAME_TOO_LARGE, FRAME_MALFORMED; the stream is of no use afterwards
   */
  readFrame(): Uint8Array | undefined {
    this.#need ??= this.#readLength();
    if (this.#need === undefined || this.#buffered < this.#need) return undefined;
    const payload = this.#take(this.#need);
    this.#need = undefined;
    return payload;
  }

  /**
   * Up to `maxBytes` raw bytes that follow the last frame, without copying; undefined when none
   * has arrived.
   */
  readRaw(maxBytes: number): Uint8Array | undefined {
    const first = this.#slices[0];
    if (first === undefined || maxBytes <= 0) return undefined;
    return this.#take(Math.min(first.length, maxBytes));
  }

  #extendLast(slice: Uint8Array): boolean {
    const last = this.#slices.at(-1);
    const end = this.#blockUsed + slice.length;
    if (last?.buffer !== this.#block.buffer || end > this.#block.length) return false;
    this.#block.set(slice, this.#blockUsed);
    this.#blockUsed = end;
    this.#slices[this.#slices.length - 1] = this.#block.subarray(
      end - slice.length - last.length,
      end,
    );
    return true;
  }

  #readLength(): number | undefined {
    let value = 0;
    let scale = 1;
    for (let at = 0; at < LENGTH_BYTES_MAX; at++) {
      const byte = this.#peek(at);
      if (byte === undefined) return undefined;
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
      if (byte < 0x80) {
        if (byte === 0 && at > 0) break;
        if (value > this.#maxBytes) {
          throw new SwarmError(`frame of ${value} bytes, at most ${this.#maxBytes}`, {
            code: 'FRAME_TOO_LARGE',
          });
        }
        this.#take(at + 1);
        return value;
      }
    }
    throw new SwarmError('frame length is no canonical varint', { code: 'FRAME_MALFORMED' });
  }

  #peek(offset: number): number | undefined {
    let at = offset;
    for (const slice of this.#slices) {
      if (at < slice.length) return slice[at];
      at -= slice.length;
    }
    return undefined;
  }

  /** Removes exactly `count` buffered bytes; a view when they lie in one slice. */
  #take(count: number): Uint8Array {
    const first = this.#slices[0];
    if (first !== undefined && first.length >= count) {
      this.#buffered -= count;
      if (first.length === count) this.#slices.shift();
      else this.#slices[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const taken = Buffer.allocUnsafeSlow(count);
    let filled = 0;
    let used = 0;
    for (const slice of this.#slices) {
      const part = slice.subarray(0, count - filled);
      taken.set(part, filled);
      filled += part.length;
      if (part.length < slice.length) {
        this.#slices[used] = slice.subarray(part.length);
        break;
      }
      used++;
      if (filled === count) break;
    }
    this.#slices.splice(0, used);
    this.#buffered -= count;
    return taken;
  }
}
