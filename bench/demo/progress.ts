import { formatByteSize } from '../../proto/std/byte-size.ts';
import { bar, percent } from '../rig/bar.ts';

const BAR_CELLS = 24;
const REDRAW_MS = 200;

/** One line per agent, redrawn in place on a terminal, printed now and then elsewhere. */
export class Progress {
  readonly #total: number;
  readonly #rows: { name: string; bytes: number }[];
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout;
  #drawn = false;

  constructor(names: readonly string[], totalBytes: number) {
    this.#total = totalBytes;
    this.#rows = names.map((name) => ({ name, bytes: 0 }));
    const everyMs = process.stdout.isTTY ? REDRAW_MS : REDRAW_MS * 10;
    this.#timer = setInterval(() => this.#draw(), everyMs);
  }

  /** Adds `count` bytes to the bar of agent `index`. */
  add(index: number, count: number): void {
    const row = this.#rows[index];
    if (row) row.bytes += count;
  }

  /** Draws the last state and stops. */
  stop(): void {
    clearInterval(this.#timer);
    this.#draw();
  }

  #draw(): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(0);
    if (!process.stdout.isTTY) {
      const parts = this.#rows.map((r) => `${r.name} ${percent(r.bytes / this.#total)}`);
      process.stdout.write(`${seconds} s: ${parts.join(', ')}\n`);
      return;
    }
    if (this.#drawn) process.stdout.write(`\u001B[${this.#rows.length}A`);
    this.#drawn = true;
    for (const row of this.#rows) {
      const part = row.bytes / this.#total;
      const done = `${percent(part)} ${formatByteSize(row.bytes)} ${seconds} s`;
      process.stdout.write(`\u001B[2K${row.name} ${bar(part, BAR_CELLS)} ${done}\n`);
    }
  }
}
