import { PROGRESS_MS } from './constants.ts';

/** Tells how far a long work is, now and then. */
export class Progress {
  readonly #tell: (text: string) => void;
  readonly #now: () => number;
  #toldMs: number;

  constructor(modules: { tell: (text: string) => void; now?: () => number }) {
    this.#tell = modules.tell;
    this.#now = modules.now ?? (() => performance.now());
    this.#toldMs = this.#now();
  }

  /** Always told. */
  say(text: string): void {
    this.#tell(text);
    this.#toldMs = this.#now();
  }

  /** Told when nothing was for a while. */
  step(text: () => string): void {
    if (this.#now() - this.#toldMs >= PROGRESS_MS) this.say(text());
  }
}

/** Such as `1.5 GiB`; exact sizes are for machines. */
export function roundBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return unit === 0 ? `${bytes} bytes` : `${value.toFixed(1)} ${units[unit]}`;
}
