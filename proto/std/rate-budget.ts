import { sleep } from './abort.ts';

/** What may be used up at once, as the time it takes to come in. */
const BURST_MS = 250;

/** Bytes that come in at a steady rate; who takes more than there are waits for his turn. */
export class RateBudget {
  /** May be changed at any time; what is taken already stays as it is. */
  bytesPerSecond: number;
  /** Bytes taken so far. */
  taken = 0;
  /** Milliseconds that takers were told to wait so far. */
  waitedMs = 0;
  readonly #now: () => number;
  /** Until when what comes in is taken already. */
  #takenUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: { bytesPerSecond: number; now?: () => number }) {
    this.bytesPerSecond = options.bytesPerSecond;
    this.#now = options.now ?? ((): number => performance.now());
  }

  /**
   * Takes the bytes and says how many ms to wait before they may be used; undefined, with nothing
   * taken, when that would be longer than `waitMaxMs`.
   */
  take(bytes: number, waitMaxMs = Number.POSITIVE_INFINITY): number | undefined {
    const now = this.#now();
    const from = Math.max(this.#takenUntilMs, now - BURST_MS);
    const until = from + (bytes / this.bytesPerSecond) * 1000;
    const waitMs = Math.max(0, until - now);
    if (waitMs > waitMaxMs) return undefined;
    this.#takenUntilMs = until;
    this.taken += bytes;
    this.waitedMs += waitMs;
    return waitMs;
  }

  /** Takes the bytes and waits until they may be used. Rejects with the reason of the signal. */
  async pass(bytes: number, options: { signal?: AbortSignal | undefined }): Promise<void> {
    const waitMs = this.take(bytes) ?? 0;
    if (waitMs > 0) await sleep(waitMs, options);
  }
}
