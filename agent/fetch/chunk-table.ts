import { bitsOf, clearBit, hasBit, lowestBit, newBits, setBit } from './chunk-bits.ts';
import type { ChunkSet } from './planner-port.ts';

/** Where to look for a chunk to ask for. */
export type Search = {
  /** What the source holds. */
  offered: Uint32Array;
  /** Chunks that are being fetched. */
  busy: Uint32Array;
  /** Chunks to leave to others. */
  except: Uint32Array;
};

/** Which chunks are still wanted, and how many linked peers hold each of them. */
export class ChunkTable {
  readonly count: number;
  /** Neither verified nor held back for a check. */
  readonly wanted: Uint32Array;
  /** Held by some linked peer, and by one of our own zone. */
  readonly heard: Uint32Array;
  readonly heardNear: Uint32Array;
  /** Every chunk, and none: for searches. */
  readonly everything: Uint32Array;
  readonly nothing: Uint32Array;
  readonly #have: Uint32Array;
  readonly #rarity: Uint8Array;
  readonly #near: Uint8Array;
  #haveCount = 0;

  constructor(count: number, have: ChunkSet, held: ChunkSet) {
    this.count = count;
    this.#have = bitsOf(have);
    this.wanted = newBits(count);
    this.heard = newBits(count);
    this.heardNear = newBits(count);
    this.nothing = newBits(count);
    this.everything = newBits(count).fill(0xffff_ffff);
    this.#rarity = new Uint8Array(count);
    this.#near = new Uint8Array(count);
    const heldBits = bitsOf(held);
    for (let index = 0; index < count; index += 1) {
      if (hasBit(this.#have, index)) this.#haveCount += 1;
      else if (!hasBit(heldBits, index)) setBit(this.wanted, index);
    }
  }

  get missing(): number {
    return this.count - this.#haveCount;
  }

  get haveCount(): number {
    return this.#haveCount;
  }

  isWanted(index: number): boolean {
    return hasBit(this.wanted, index);
  }

  /** Neither verified nor wanted. */
  isHeld(index: number): boolean {
    return index >= 0 && index < this.count && !hasBit(this.#have, index) && !this.isWanted(index);
  }

  /** Chunks of a word that are not verified, wanted or not. */
  absent(at: number): number {
    const rest = this.count - at * 32;
    return ~(this.#have[at] ?? 0) & (rest >= 32 ? -1 : 2 ** rest - 1);
  }

  /** How many linked peers hold it. */
  rarity(index: number): number {
    return this.#rarity[index] ?? 0;
  }

  /** False when it was known already, or out of range. */
  markHave(index: number): boolean {
    if (!(index >= 0 && index < this.count) || hasBit(this.#have, index)) return false;
    clearBit(this.wanted, index);
    setBit(this.#have, index);
    this.#haveCount += 1;
    return true;
  }

  /** The chunk is wanted: the check of it failed, or what was had is lost. */
  release(index: number): void {
    if (!(index >= 0 && index < this.count)) return;
    if (hasBit(this.#have, index)) {
      clearBit(this.#have, index);
      this.#haveCount -= 1;
    }
    setBit(this.wanted, index);
  }

  /** The chunk cannot be checked any more. */
  hold(index: number): void {
    if (!(index >= 0 && index < this.count)) return;
    this.release(index);
    clearBit(this.wanted, index);
  }

  /** Brings what one peer holds to what it holds now. At most 255 peers can be counted. */
  updateHolder(holder: Uint32Array, now: Uint32Array, near: boolean): void {
    for (let at = 0; at < holder.length; at += 1) {
      const is = now[at] ?? 0;
      let changed = (holder[at] ?? 0) ^ is;
      if (changed === 0) continue;
      holder[at] = is;
      while (changed !== 0) {
        const bit = lowestBit(changed);
        changed &= changed - 1;
        this.#count(at * 32 + bit, (is & (1 << bit)) === 0 ? -1 : 1, near);
      }
    }
  }

  /** One peer holds one chunk less than it said. */
  withdraw(holder: Uint32Array, index: number, near: boolean): void {
    if (!hasBit(holder, index)) return;
    clearBit(holder, index);
    this.#count(index, -1, near);
  }

  /** The first chunk from `from` on that we do not hold; `count` when there is none. */
  firstGap(from: number): number {
    let index = from;
    while (index < this.count) {
      const gaps = ~(this.#have[index >> 5] ?? 0) & (-1 << (index & 31));
      if (gaps !== 0) return Math.min(this.count, (index & ~31) + lowestBit(gaps));
      index = (index & ~31) + 32;
    }
    return this.count;
  }

  /**
   * The wanted chunk that fewest peers hold, ties broken at random; -1 when there is none.
   * `uniform`: any, however rare.
   */
  pickRarest(search: Search, random: () => number, uniform: boolean): number {
    const { offered, busy, except } = search;
    const salt = Math.floor(random() * 0x1_0000_0000) | 1;
    let best = -1;
    let bestKey = Number.MAX_SAFE_INTEGER;
    for (let at = 0; at < offered.length; at += 1) {
      let bits =
        (this.wanted[at] ?? 0) & (offered[at] ?? 0) & ~(busy[at] ?? 0) & ~(except[at] ?? 0);
      while (bits !== 0) {
        const index = at * 32 + lowestBit(bits);
        bits &= bits - 1;
        // Mixed with the salt, each chunk has a lot of its own among equals.
        const mixed = Math.imul(index + 1, 0x9e37_79b1) ^ salt;
        const lot = Math.imul(mixed ^ (mixed >>> 15), 0x85eb_ca6b) >>> 12;
        const key = uniform ? lot : (this.#rarity[index] ?? 0) * 0x10_0000 + lot;
        if (key >= bestKey) continue;
        best = index;
        bestKey = key;
      }
    }
    return best;
  }

  /** The first such chunk at or after `from`, else the first before it; -1 when none. */
  pickInOrder(search: Search, from: number): number {
    const after = this.#first(search, from, this.count);
    return after < 0 ? this.#first(search, 0, from) : after;
  }

  #first({ offered, busy, except }: Search, from: number, end: number): number {
    for (let at = from >> 5; at * 32 < end; at += 1) {
      let bits =
        (this.wanted[at] ?? 0) & (offered[at] ?? 0) & ~(busy[at] ?? 0) & ~(except[at] ?? 0);
      if (at === from >> 5) bits &= -1 << (from & 31);
      if (bits === 0) continue;
      const index = at * 32 + lowestBit(bits);
      return index < end ? index : -1;
    }
    return -1;
  }

  #count(index: number, step: 1 | -1, near: boolean): void {
    const rarity = (this.#rarity[index] ?? 0) + step;
    this.#rarity[index] = rarity;
    if (rarity === 0) clearBit(this.heard, index);
    else if (rarity === 1) setBit(this.heard, index);
    if (!near) return;
    const holders = (this.#near[index] ?? 0) + step;
    this.#near[index] = holders;
    if (holders === 0) clearBit(this.heardNear, index);
    else if (holders === 1) setBit(this.heardNear, index);
  }
}
