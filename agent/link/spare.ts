import type { RateBudget } from '../../proto/std/rate-budget.ts';
import { BORROW_MAX, OTHERS_SMOOTHING } from './constants.ts';

/**
 * Lets a budget grow over its part of the link while nobody else needs the rest, so that a lone
 * download is as fast as without. Without I/O or clock.
 */
export class Spare {
  readonly #budget: RateBudget;
  readonly #link: number;
  readonly #part: number;
  #last: { cardBytes: number; ownBytes: number; atMs: number } | undefined;
  #others: number | undefined;

  /** `link` and `part` in bytes per second. */
  constructor(options: { link: number; part: number }, modules: { budget: RateBudget }) {
    this.#link = options.link;
    this.#part = options.part;
    this.#budget = modules.budget;
  }

  /** True when the budget was used since the last look. */
  get isUsed(): boolean {
    return this.#budget.taken > (this.#last?.ownBytes ?? 0);
  }

  /** What the card counts by now, in the direction of the budget. */
  look(cardBytes: number, atMs: number): void {
    const ownBytes = this.#budget.taken;
    const last = this.#last;
    this.#last = { cardBytes, ownBytes, atMs };
    if (last === undefined || atMs <= last.atMs) return;
    const bytes = Math.max(0, cardBytes - last.cardBytes - (ownBytes - last.ownBytes));
    const rate = (bytes * 1000) / (atMs - last.atMs);
    const before = this.#others ?? rate;
    this.#others = before + (rate - before) * OTHERS_SMOOTHING;
    const spare = this.#link * BORROW_MAX - this.#others;
    this.#budget.bytesPerSecond = Math.max(this.#part, spare);
  }
}
