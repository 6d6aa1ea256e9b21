import type { ChunkSet } from './planner-port.ts';

const WANTED = 0;
const HAVE = 1;
const HELD = 2;

/** Which chunks are still wanted, and how many linked peers hold each of them. */
export class ChunkTable {
  readonly count: number;
  readonly #state: Uint8Array;
  readonly #rarity: Uint16Array;
  /** Wanted chunks, packed, in no order; #place tells where each one is. */
  readonly #wanted: Int32Array;
  readonly #place: Int32Array;
  #wantedCount = 0;
  #haveCount = 0;

  constructor(count: number, have: ChunkSet, held: ChunkSet) {
    this.count = count;
    this.#state = new Uint8Array(count);
    this.#rarity = new Uint16Array(count);
    this.#wanted = new Int32Array(count);
    this.#place = new Int32Array(count).fill(-1);
    for (let index = 0; index < count; index += 1) {
      if (have.has(index)) {
        this.#state[index] = HAVE;
        this.#haveCount += 1;
      } else if (held.has(index)) this.#state[index] = HELD;
      else this.#push(index);
    }
  }

  get missing(): number {
    return this.count - this.#haveCount;
  }

  get haveCount(): number {
    return this.#haveCount;
  }

  /** Wanted chunks: neither verified nor held back for a check. */
  get wantedCount(): number {
    return this.#wantedCount;
  }

  isWanted(index: number): boolean {
    return this.#state[index] === WANTED;
  }

  has(index: number): boolean {
    return this.#state[index] === HAVE;
  }

  rarity(index: number): number {
    return this.#rarity[index] ?? 0;
  }

  /** False when it was known already, or out of range. */
  markHave(index: number): boolean {
    const state = this.#state[index];
    if (state === undefined || state === HAVE) return false;
    if (state === WANTED) this.#drop(index);
    this.#state[index] = HAVE;
    this.#haveCount += 1;
    return true;
  }

  /** The chunk is wanted: the check of it failed, or what was had is lost. */
  release(index: number): void {
    const state = this.#state[index];
    if (state === undefined || state === WANTED) return;
    if (state === HAVE) this.#haveCount -= 1;
    this.#state[index] = WANTED;
    this.#push(index);
  }

  /** Replaces what one peer holds. */
  replaceHolder(before: ChunkSet | undefined, after: ChunkSet | undefined): void {
    for (let index = 0; index < this.count; index += 1) {
      const was = before?.has(index) ?? false;
      const is = after?.has(index) ?? false;
      if (was !== is) this.#rarity[index] = (this.#rarity[index] ?? 0) + (is ? 1 : -1);
    }
  }

  /** The first chunk from `from` on that we do not hold; `count` when there is none. */
  firstGap(from: number): number {
    let index = from;
    while (index < this.count && this.#state[index] === HAVE) index += 1;
    return index;
  }

  /** The eligible wanted chunk that fewest peers hold, ties broken at random; -1 when none. */
  pickRarest(eligible: (index: number) => boolean, random: () => number, uniform: boolean): number {
    let best = -1;
    let bestRarity = Number.MAX_SAFE_INTEGER;
    let ties = 0;
    for (let at = 0; at < this.#wantedCount; at += 1) {
      const index = this.#wanted[at] ?? 0;
      const rarity = uniform ? 0 : (this.#rarity[index] ?? 0);
      if (rarity > bestRarity || !eligible(index)) continue;
      if (rarity < bestRarity) {
        best = index;
        bestRarity = rarity;
        ties = 1;
      } else {
        ties += 1;
        if (random() * ties < 1) best = index;
      }
    }
    return best;
  }

  /** The first eligible wanted chunk at or after `from`, else the first before it; -1 when none. */
  pickInOrder(eligible: (index: number) => boolean, from: number): number {
    for (let step = 0; step < this.count; step += 1) {
      const index = (from + step) % this.count;
      if (this.#state[index] === WANTED && eligible(index)) return index;
    }
    return -1;
  }

  /** Whether some wanted chunk is eligible. */
  some(eligible: (index: number) => boolean): boolean {
    for (let at = 0; at < this.#wantedCount; at += 1) {
      if (eligible(this.#wanted[at] ?? 0)) return true;
    }
    return false;
  }

  #push(index: number): void {
    this.#wanted[this.#wantedCount] = index;
    this.#place[index] = this.#wantedCount;
    this.#wantedCount += 1;
  }

  #drop(index: number): void {
    const place = this.#place[index] ?? -1;
    const last = this.#wanted[this.#wantedCount - 1] ?? 0;
    this.#wanted[place] = last;
    this.#place[last] = place;
    this.#place[index] = -1;
    this.#wantedCount -= 1;
  }
}
