/**
 * Learns the duration that a given part of all durations stays below, without keeping them: each
 * one moves the estimate a little, in proportion to it.
 */
export class Quantile {
  readonly #part: number;
  readonly #step: number;
  #value: number;

  constructor(options: { part: number; start: number; step: number }) {
    this.#part = options.part;
    this.#step = options.step;
    this.#value = options.start;
  }

  get value(): number {
    return this.#value;
  }

  add(sample: number): void {
    const pull = sample > this.#value ? this.#part : this.#part - 1;
    this.#value *= 1 + this.#step * pull;
  }
}
