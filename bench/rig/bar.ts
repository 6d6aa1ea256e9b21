import { styleText } from 'node:util';

/** A bar of `cells` characters for a part of 0 to 1, green on a terminal. */
export function bar(part: number, cells: number): string {
  const count = Math.max(0, Math.min(cells, Math.floor(part * cells)));
  const full = '█'.repeat(count);
  const shown = process.stdout.isTTY ? styleText('green', full) : full;
  return shown + '░'.repeat(cells - count);
}

/** A part of 0 to 1 in whole percent, five characters wide. */
export function percent(part: number): string {
  return `${Math.floor(part * 100)} %`.padStart(5);
}
