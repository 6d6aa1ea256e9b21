import { CHUNKS_MAX } from '../chunks/layout.ts';
import { SwarmError } from './errors.ts';

/** The indices of the bits set in byte number `at`. */
function* indicesOf(byte: number, at: number): Generator<number, void, undefined> {
  for (let rest = byte; rest !== 0; rest &= rest - 1) {
    yield at * 8 + (31 - Math.clz32(rest & -rest));
  }
}

/** Which chunks of a blob someone holds. Bit i is byte i / 8, least significant bit first. */
export class ChunkBitmap {
  /** Number of chunks of the blob. */
  readonly size: number;
  readonly #bits: Uint8Array;
  #count = 0;

  /**
   * An empty bitmap.
   * @throws RangeError when size is not from 0 to CHUNKS_MAX
   */
  constructor(size: number) {
    if (!Number.isInteger(size) || size < 0 || size > CHUNKS_MAX) {
      throw new RangeError(`a bitmap of ${size} chunks; at most ${CHUNKS_MAX}`);
    }
    this.size = size;
    this.#bits = new Uint8Array(Math.ceil(size / 8));
  }

  /**
   * Reads what toBytes wrote.
   * @throws SwarmError BAD_BITMAP on another length than `size` needs or set bits beyond the end
   */
  static fromBytes(bytes: Uint8Array, size: number): ChunkBitmap {
    const bitmap = new ChunkBitmap(size);
    const spare = bitmap.#bits.length * 8 - size;
    const last = bytes[bytes.length - 1] ?? 0;
    if (bytes.length !== bitmap.#bits.length || last >> (8 - spare) !== 0) {
      throw new SwarmError(`a bitmap of ${bytes.length} bytes does not fit ${size} chunks`, {
        code: 'BAD_BITMAP',
      });
    }
    bitmap.#bits.set(bytes);
    for (let byte of bytes) for (; byte !== 0; byte &= byte - 1) bitmap.#count++;
    return bitmap;
  }

  /** A bitmap with every chunk set. */
  static full(size: number): ChunkBitmap {
    const bitmap = new ChunkBitmap(size);
    for (let index = 0; index < size; index++) bitmap.set(index);
    return bitmap;
  }

  /** Number of chunks held. */
  get count(): number {
    return this.#count;
  }

  get complete(): boolean {
    return this.#count === this.size;
  }

  /** False for indices outside of the blob as well. */
  has(index: number): boolean {
    if (!(index >= 0 && index < this.size)) return false;
    return ((this.#bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  /** Marks a chunk; true when it was not marked before. Throws RangeError outside of the blob. */
  set(index: number): boolean {
    if (this.has(index)) return false;
    this.#write(index, true);
    this.#count++;
    return true;
  }

  /** Unmarks a chunk; true when it was marked. Throws RangeError outside of the blob. */
  clear(index: number): boolean {
    if (!this.has(index)) {
      this.#write(index, false);
      return false;
    }
    this.#write(index, false);
    this.#count--;
    return true;
  }

  /** Indices not held, ascending. Do not change the bitmap meanwhile. */
  *missing(): Generator<number, void, undefined> {
    yield* this.#scan(0xff);
  }

  /** Indices held, ascending. Do not change the bitmap meanwhile. */
  *present(): Generator<number, void, undefined> {
    yield* this.#scan(0);
  }

  /**
   * Indices held by one of the two and not by the other, ascending.
   * @throws RangeError when the sizes differ
   */
  *differing(other: ChunkBitmap): Generator<number, void, undefined> {
    if (other.size !== this.size) throw new RangeError(`${other.size} chunks, not ${this.size}`);
    for (let at = 0; at < this.#bits.length; at++) {
      yield* indicesOf((this.#bits[at] ?? 0) ^ (other.#bits[at] ?? 0), at);
    }
  }

  /** A copy of the bits, Math.ceil(size / 8) bytes. */
  toBytes(): Buffer {
    return Buffer.from(this.#bits);
  }

  /** Writes the bits over `into`, which has room for Math.ceil(size / 8) bytes. */
  copyBits(into: Uint8Array): void {
    into.set(this.#bits);
  }

  /** An independent copy. */
  clone(): ChunkBitmap {
    const copy = new ChunkBitmap(this.size);
    copy.#bits.set(this.#bits);
    copy.#count = this.#count;
    return copy;
  }

  *#scan(flip: number): Generator<number, void, undefined> {
    for (let at = 0; at < this.#bits.length; at++) {
      for (const index of indicesOf((this.#bits[at] ?? 0) ^ flip, at)) {
        if (index < this.size) yield index;
      }
    }
  }

  #write(index: number, value: boolean): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.size) {
      throw new RangeError(`chunk ${index} of ${this.size} does not exist`);
    }
    const at = index >> 3;
    const bit = 1 << (index & 7);
    const byte = this.#bits[at] ?? 0;
    this.#bits[at] = value ? byte | bit : byte & ~bit;
  }
}
