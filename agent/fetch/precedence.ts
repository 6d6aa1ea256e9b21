import { deadline } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import { READERLESS_MS, UNREAD_CHUNKS_MAX } from './constants.ts';
import type { FetchMetrics } from './metrics.ts';
import { Waiters } from './waiters.ts';

export type PrecedenceModules = {
  /** What chunks that nobody waits for may take of the link; undefined: as fast as it goes. */
  budget?: RateBudget | undefined;
  metrics: Pick<FetchMetrics, 'unreadBytes'>;
};

/**
 * Who goes first: a download that is read, or was a moment ago, is never held up here. One whose
 * readers have left has its own budget, and few chunks at a time while others are read.
 */
export class Precedence {
  readonly #modules: PrecedenceModules;
  readonly #read = new Set<Claim>();
  readonly #waiters = new Waiters();
  #unreadChunks = 0;

  constructor(modules: PrecedenceModules) {
    this.#modules = modules;
  }

  /** A download begins; for a reader, unless `isRead` is false. */
  enter({ isRead = true }: { isRead?: boolean | undefined } = {}): Claim {
    const port: ClaimPort = {
      changed: (isNowRead) => {
        if (isNowRead) this.#read.add(claim);
        else this.#read.delete(claim);
        this.#waiters.wakeAll();
      },
      mustYield: () => this.#read.size > 0,
      turn: (bytes, signal) => this.#turn(claim, bytes, signal),
    };
    const claim: Claim = new Claim({ isRead }, port);
    if (isRead) this.#read.add(claim);
    return claim;
  }

  async #turn(claim: Claim, bytes: number, signal: AbortSignal): Promise<Disposable> {
    if (!claim.isRead) await this.#pass(claim, bytes, signal);
    while (claim.yields && this.#unreadChunks >= UNREAD_CHUNKS_MAX) {
      // oxlint-disable-next-line no-await-in-loop -- one change after the other
      await this.#waiters.next(signal);
    }
    if (claim.isRead) return { [Symbol.dispose]: () => {} };
    this.#modules.metrics.unreadBytes.inc(bytes);
    this.#unreadChunks += 1;
    return {
      [Symbol.dispose]: () => {
        this.#unreadChunks -= 1;
        this.#waiters.wakeAll();
      },
    };
  }

  /** Waits for the budget, unless somebody comes to read meanwhile. */
  async #pass(claim: Claim, bytes: number, signal: AbortSignal): Promise<void> {
    const waitMs = this.#modules.budget?.take(bytes) ?? 0;
    if (waitMs === 0) return;
    using limit = deadline(waitMs, signal);
    try {
      // oxlint-disable-next-line no-await-in-loop -- one change after the other
      while (!claim.isRead) await this.#waiters.next(limit.signal);
    } catch (err) {
      signal.throwIfAborted();
      if (!hasCode(err, 'TIMEOUT')) throw err;
    }
  }
}

type ClaimPort = {
  changed(isRead: boolean): void;
  mustYield(): boolean;
  turn(bytes: number, signal: AbortSignal): Promise<Disposable>;
};

/** The standing of one download. Disposing it ends that. */
export class Claim implements Disposable {
  readonly #port: ClaimPort;
  #isRead: boolean;
  #readMs: number | undefined;

  constructor({ isRead }: { isRead: boolean }, port: ClaimPort) {
    this.#isRead = isRead;
    if (!isRead) this.#readMs = -Infinity;
    this.#port = port;
  }

  /** Whether somebody reads it, or did a moment ago. */
  get isRead(): boolean {
    return this.#isRead;
  }

  /** Whether nobody reads it while others are read. */
  get yields(): boolean {
    return !this.#isRead && this.#port.mustYield();
  }

  /** Tells how many read it now; to be called every now and then. */
  readers(count: number, nowMs: number): void {
    if (count > 0) this.#readMs = nowMs;
    this.#readMs ??= nowMs;
    const isRead = nowMs - this.#readMs < READERLESS_MS;
    if (isRead === this.#isRead) return;
    this.#isRead = isRead;
    this.#port.changed(isRead);
  }

  /** Waits until a chunk of it may be asked for; the turn lasts until it is here. */
  turn(bytes: number, signal: AbortSignal): Promise<Disposable> {
    return this.#port.turn(bytes, signal);
  }

  [Symbol.dispose](): void {
    this.#isRead = false;
    this.#port.changed(false);
  }
}
