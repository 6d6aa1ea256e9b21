import { bar, percent } from '../rig/bar.ts';

const CELLS = 30;
const REDRAW_MS = 200;
const PRINT_MS = 5_000;

/** How far each run is: one line each on a terminal, one line for all now and then elsewhere. */
export class SeedBars {
  readonly #parts: Map<number, number>;
  readonly #timer: NodeJS.Timeout;
  #drawn = false;

  constructor(seeds: readonly number[]) {
    this.#parts = new Map(seeds.map((seed) => [seed, 0]));
    const everyMs = process.stdout.isTTY ? REDRAW_MS : PRINT_MS;
    this.#timer = setInterval(() => this.#draw(), everyMs);
  }

  show(seed: number, part: number): void {
    this.#parts.set(seed, part);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#draw();
  }

  #draw(): void {
    if (!process.stdout.isTTY) {
      const parts = [...this.#parts].map(([seed, part]) => `seed ${seed} ${percent(part)}`);
      process.stdout.write(`${parts.join(', ')}\n`);
      return;
    }
    if (this.#drawn) process.stdout.write(`\u001B[${this.#parts.size}A`);
    this.#drawn = true;
    for (const [seed, part] of this.#parts) {
      process.stdout.write(`\u001B[2Kseed ${seed} ${bar(part, CELLS)} ${percent(part)}\n`);
    }
  }
}
