import { bar, percent } from '../rig/bar.ts';

const BAR_CELLS = 24;

/** How far the bench is: a bar redrawn in place on a terminal, a line for each step elsewhere. */
export class Steps {
  readonly #total: number;
  #begun = 0;

  constructor(total: number) {
    this.#total = total;
  }

  /** The steps begun before are done, and this one begins. */
  begin(what: string): void {
    this.#show(this.#begun, what);
    this.#begun += 1;
  }

  /** All are done. */
  end(): void {
    this.#show(this.#total, 'done');
    if (process.stdout.isTTY) process.stdout.write('\n');
  }

  #show(done: number, what: string): void {
    const part = done / this.#total;
    const line = `${bar(part, BAR_CELLS)} ${percent(part)}  ${what}`;
    process.stdout.write(process.stdout.isTTY ? `\r\u001B[2K${line}` : `${line}\n`);
  }
}
