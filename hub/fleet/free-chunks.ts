/** A set of chunk indices from which one is taken at random in constant time. */
export class FreeChunks {
  readonly #items: Uint32Array;
  /** Place of each index in #items, plus one; 0 when it is not in the set. */
  readonly #places: Uint32Array;
  #size: number;

  /** All of 0 .. count - 1. */
  constructor(count: number) {
    this.#items = Uint32Array.from({ length: count }, (_, i) => i);
    this.#places = Uint32Array.from({ length: count }, (_, i) => i + 1);
    this.#size = count;
  }

  get size(): number {
    return this.#size;
  }

  add(index: number): void {
    if (this.#places[index] !== 0) return;
    this.#items[this.#size] = index;
    this.#places[index] = ++this.#size;
  }

  remove(index: number): void {
    const place = this.#places[index] ?? 0;
    if (place === 0) return;
    const last = this.#items[--this.#size] ?? 0;
    this.#items[place - 1] = last;
    this.#places[last] = place;
    this.#places[index] = 0;
  }

  /**
   * Removes and returns an index; `random` is in [0, 1).
   * @throws RangeError when the set is empty
   */
  take(random: number): number {
    const index = this.#items[Math.floor(random * this.#size)];
    if (this.#size === 0 || index === undefined) throw new RangeError('no free chunk is left');
    this.remove(index);
    return index;
  }
}
