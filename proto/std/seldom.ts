/** Counts what may happen without bound, for something that is to be told once in a while. */
export class Seldom {
  readonly #everyMs: number;
  readonly #now: () => number;
  #count = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(options: { everyMs: number; now: () => number }) {
    this.#everyMs = options.everyMs;
    this.#now = options.now;
  }

  /** One more: how many there were since it was told last, when it is to be told now. */
  add(): number | undefined {
    this.#count += 1;
    const nowMs = this.#now();
    if (nowMs - this.#toldMs < this.#everyMs) return undefined;
    const count = this.#count;
    this.#count = 0;
    this.#toldMs = nowMs;
    return count;
  }
}
