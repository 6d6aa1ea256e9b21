import {
  BREAKER_BASE_MS,
  BREAKER_FAILURES,
  BREAKER_MAX_MS,
  BREAKER_TOLD_MAX_MS,
} from './constants.ts';

export type BreakerState = 'closed' | 'half-open' | 'open';

/** Leave to send one request. Exactly one of its calls says how that ended; others do nothing. */
export interface Pass {
  worked(): void;
  /** `waitMs`: how long the registry itself says it will be away. */
  failed(waitMs?: number): void;
  /** It was given up here, which says nothing of the registry. */
  dropped(): void;
}

/**
 * Leaves an upstream alone that fails again and again: for a while at first, longer each time, and
 * then one request tries whether it is back.
 */
export class Breaker {
  readonly #now: () => number;
  readonly #random: () => number;
  #failures = 0;
  #openings = 0;
  /** Since when requests may go again; 0 while it is closed. */
  #openUntilMs = 0;
  #probing = false;

  constructor(options: { now: () => number; random: () => number }) {
    this.#now = options.now;
    this.#random = options.random;
  }

  get state(): BreakerState {
    if (this.#openings === 0) return 'closed';
    return this.#now() < this.#openUntilMs ? 'open' : 'half-open';
  }

  /** ms until the next request may be tried; 0: now. */
  get waitMs(): number {
    const waitMs = Math.max(0, this.#openUntilMs - this.#now());
    return waitMs === 0 && this.#probing ? BREAKER_BASE_MS : waitMs;
  }

  /** undefined while requests would only fail. */
  enter(): Pass | undefined {
    if (this.waitMs > 0) return undefined;
    const isProbe = this.state === 'half-open';
    if (isProbe) this.#probing = true;
    let isOver = false;
    const once = (end: () => void): void => {
      if (isOver) return;
      isOver = true;
      if (isProbe) this.#probing = false;
      end();
    };
    return {
      worked: () => once(() => this.#close()),
      failed: (waitMs = 0) => once(() => this.#fail(isProbe, waitMs)),
      dropped: () => once(() => {}),
    };
  }

  #close(): void {
    this.#failures = 0;
    this.#openings = 0;
    this.#openUntilMs = 0;
  }

  #fail(isProbe: boolean, waitMs: number): void {
    // What was under way when it opened says nothing new.
    if (this.state !== 'closed' && !isProbe) return;
    this.#failures += 1;
    if (!isProbe && waitMs === 0 && this.#failures < BREAKER_FAILURES) return;
    const longest = Math.min(BREAKER_MAX_MS, BREAKER_BASE_MS * 2 ** this.#openings);
    // Half of it at least, so that it does rest, and not all hubs come back at once.
    const restMs = Math.ceil(longest * (0.5 + this.#random() / 2));
    this.#openings += 1;
    // One that is back earlier than it said is not to be missed for a day.
    const toldMs = Math.min(waitMs, BREAKER_TOLD_MAX_MS);
    this.#openUntilMs = this.#now() + Math.max(restMs, toldMs);
  }
}
