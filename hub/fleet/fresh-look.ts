import { sleep } from '../../proto/std/abort.ts';

/** Milliseconds since any moment, and a wait for so many of them. */
export type LookClock = { now: () => number; sleep: (ms: number) => Promise<void> };

const MACHINE: LookClock = { now: () => performance.now(), sleep };

/**
 * Looks at what may have changed elsewhere. A look begins after it was asked for, so it sees what
 * was there then; one begins at most each `gapMs`, and all who ask meanwhile share the next.
 */
export class FreshLook {
  readonly #gapMs: number;
  readonly #look: () => Promise<void>;
  readonly #clock: LookClock;
  #next: Promise<void> | undefined;
  #running: Promise<void> = Promise.resolve();
  #beganMs = Number.NEGATIVE_INFINITY;

  constructor(
    options: { gapMs: number; clock?: LookClock },
    modules: { look: () => Promise<void> },
  ) {
    this.#gapMs = options.gapMs;
    this.#clock = options.clock ?? MACHINE;
    this.#look = modules.look;
  }

  /** Rejects with what the look rejects with. */
  ask(): Promise<void> {
    this.#next ??= this.#begin();
    return this.#next;
  }

  async #begin(): Promise<void> {
    const waitMs = this.#beganMs + this.#gapMs - this.#clock.now();
    if (waitMs > 0) await this.#clock.sleep(waitMs);
    await this.#running;
    this.#next = undefined;
    this.#beganMs = this.#clock.now();
    const look = this.#look();
    this.#running = look.catch(() => undefined);
    await look;
  }
}
