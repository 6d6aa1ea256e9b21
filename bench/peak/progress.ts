import { bar, percent } from '../rig/bar.ts';

const BAR_CELLS = 20;
const REDRAW_MS = 250;
const PLAIN_REDRAW_MS = 2_000;
const COLUMN_WIDTH = 36;

/** How far every client is: bars redrawn in place on a terminal, a line now and then elsewhere. */
export class Progress {
  readonly #total: number;
  readonly #bytes: Map<string, number>;
  readonly #extra: () => string;
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout;
  #drawnLines = 0;

  /** `extra`: what is shown beside the time. */
  constructor(names: readonly string[], totalBytes: number, extra: () => string) {
    this.#total = totalBytes;
    this.#bytes = new Map(names.map((name) => [name, 0]));
    this.#extra = extra;
    const everyMs = process.stdout.isTTY ? REDRAW_MS : PLAIN_REDRAW_MS;
    this.#timer = setInterval(() => this.#draw(), everyMs);
  }

  add(name: string, count: number): void {
    this.#bytes.set(name, (this.#bytes.get(name) ?? 0) + count);
  }

  /** Draws the last state and stops. */
  stop(): void {
    clearInterval(this.#timer);
    this.#draw();
  }

  #draw(): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(0);
    const parts = [...this.#bytes].map(([name, bytes]) => ({ name, part: bytes / this.#total }));
    const mean = parts.reduce((sum, { part }) => sum + part, 0) / parts.length;
    const done = parts.filter(({ part }) => part >= 1).length;
    const least = Math.min(...parts.map(({ part }) => part));
    const swarm = `${bar(mean, BAR_CELLS)} ${percent(mean)}  ${done} of ${parts.length} done`;
    const head = `${seconds.padStart(4)} s  ${swarm}`;
    if (!process.stdout.isTTY) {
      process.stdout.write(`${head}, least ${percent(least)}, ${this.#extra()}\n`);
      return;
    }
    const columns = Math.max(1, Math.floor(process.stdout.columns / COLUMN_WIDTH));
    const lines = [`${head}, ${this.#extra()}`];
    for (let at = 0; at < parts.length; at += columns) {
      const row = parts.slice(at, at + columns);
      const cells = row.map(
        ({ name, part }) => `${name.padStart(4)} ${bar(part, BAR_CELLS)} ${percent(part)}`,
      );
      lines.push(cells.join('   '));
    }
    // A terminal that is too low for all of them gets the first line only.
    if (lines.length >= process.stdout.rows) lines.length = 1;
    if (this.#drawnLines > 0) process.stdout.write(`\u001B[${this.#drawnLines}A`);
    this.#drawnLines = lines.length;
    process.stdout.write(lines.map((line) => `\u001B[2K${line}\n`).join(''));
  }
}
