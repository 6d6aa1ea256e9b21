/** A set of chunk indices from which the lowest is taken. */
export class FreeChunks {
  /** Chunk i is bit i % 32 of word i / 32. */
  readonly #words: Uint32Array;
  #size: number;
  /** No index of the set is in an earlier word. */
  #from = 0;

  /** All of 0 .. count - 1. */
  constructor(count: number) {
    this.#words = new Uint32Array(Math.ceil(count / 32)).fill(0xffff_ffff);
    if (count % 32 !== 0) this.#words[this.#words.length - 1] = 2 ** (count % 32) - 1;
    this.#size = count;
  }

  get size(): number {
    return this.#size;
  }

  add(index: number): void {
    if (this.#has(index)) return;
    const at = index >> 5;
    this.#words[at] = (this.#words[at] ?? 0) | (1 << (index & 31));
    this.#from = Math.min(this.#from, at);
    this.#size += 1;
  }

  remove(index: number): void {
    if (!this.#has(index)) return;
    const at = index >> 5;
    this.#words[at] = (this.#words[at] ?? 0) & ~(1 << (index & 31));
    this.#size -= 1;
  }

  /**
   * The lowest index.
   * @throws RangeError when the set is empty
   */
  get first(): number {
    if (this.#size === 0) throw new RangeError('no free chunk is left');
    while (this.#words[this.#from] === 0) this.#from += 1;
    const word = this.#words[this.#from] ?? 0;
    return this.#from * 32 + (31 - Math.clz32(word & -word));
  }

  /**
   * Removes and returns the lowest index.
   * @throws RangeError when the set is empty
   */
  take(): number {
    const index = this.first;
    this.remove(index);
    return index;
  }

  #has(index: number): boolean {
    return ((this.#words[index >> 5] ?? 0) & (1 << (index & 31))) !== 0;
  }
}
