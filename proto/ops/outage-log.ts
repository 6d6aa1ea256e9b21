import type { Logger } from './logger.ts';

/** Tells once that something a program needs is away, and once that it is back. */
export class OutageLog {
  readonly #what: string;
  readonly #logger: Logger;
  readonly #now: () => number;
  #sinceMs: number | undefined;

  /** `what` begins the sentences. */
  constructor(options: { what: string; now?: () => number }, modules: { logger: Logger }) {
    this.#what = options.what;
    this.#now = options.now ?? (() => performance.now());
    this.#logger = modules.logger;
  }

  failed(reason: string): void {
    if (this.#sinceMs !== undefined) return;
    this.#sinceMs = this.#now();
    this.#logger.warn({ reason }, `${this.#what} does not answer`);
  }

  worked(): void {
    if (this.#sinceMs === undefined) return;
    const seconds = Math.round(this.#now() - this.#sinceMs) / 1000;
    this.#sinceMs = undefined;
    this.#logger.info({ seconds }, `${this.#what} answers again`);
  }
}
