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

/** Writes a set of chunks over `bits`. */
export function readBits(have: ChunkSet, bits: Uint32Array): void {
  if (have.copyBits !== undefined && LITTLE_ENDIAN) {
    have.copyBits(new Uint8Array(bits.buffer, bits.byteOffset, Math.ceil(have.size / 8)));
    return;
  }
  bits.fill(0);
  for (let index = 0; index < have.size; index += 1) {
    if (have.has(index)) setBit(bits, index);
  }
}
