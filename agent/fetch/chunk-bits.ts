import type { ChunkSet } from './planner-port.ts';

/** Sets of chunks as 32-bit words: chunk i is bit i % 32 of word i / 32. */
export function newBits(count: number): Uint32Array {
  return new Uint32Array(Math.ceil(count / 32));
}

export function hasBit(bits: Uint32Array, index: number): boolean {
  return ((bits[index >> 5] ?? 0) & (1 << (index & 31))) !== 0;
}

export function setBit(bits: Uint32Array, index: number): void {
  bits[index >> 5] = (bits[index >> 5] ?? 0) | (1 << (index & 31));
}

export function clearBit(bits: Uint32Array, index: number): void {
  bits[index >> 5] = (bits[index >> 5] ?? 0) & ~(1 << (index & 31));
}

/** Number of the lowest bit set in a word that is not 0. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Whether the first `count` bits are all set. */
export function isFull(bits: Uint32Array, count: number): boolean {
  const whole = count >> 5;
  for (let at = 0; at < whole; at += 1) {
    if (bits[at] !== 0xffff_ffff) return false;
  }
  const rest = count & 31;
  return rest === 0 || (bits[whole] ?? 0) === 2 ** rest - 1;
}

const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Reads sets of one size into words, over what was read before. */
export class BitsReader {
  readonly bits: Uint32Array;
  readonly #bytes: Uint8Array;

  constructor(count: number) {
    this.bits = newBits(count);
    this.#bytes = new Uint8Array(this.bits.buffer, 0, Math.ceil(count / 8));
  }

  read(have: ChunkSet): void {
    if (have.copyBits !== undefined && LITTLE_ENDIAN) return have.copyBits(this.#bytes);
    this.bits.fill(0);
    for (let index = 0; index < have.size; index += 1) {
      if (have.has(index)) setBit(this.bits, index);
    }
    return undefined;
  }
}

/** The chunks of a set as words. */
export function bitsOf(have: ChunkSet): Uint32Array {
  const reader = new BitsReader(have.size);
  reader.read(have);
  return reader.bits;
}
