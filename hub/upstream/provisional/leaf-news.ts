import { sleep } from '../../../proto/std/abort.ts';
import { LEAF_BYTES } from '../../../proto/chunks/layout.ts';
import {
  PROVISIONAL_ANSWERS_PER_SECOND,
  PROVISIONAL_GATHER_MAX_MS,
  PROVISIONAL_GATHER_MS,
} from './constants.ts';
import type { RunningIngest } from '../port.ts';

export type IngestOutcome = Awaited<RunningIngest['outcome']>;

/**
 * Follows one ingest and wakes those who wait for its leaves: at once after a pause, then together
 * and not more often than the hub can answer, however finely the bytes come.
 */
export class LeafNews {
  readonly ingest: RunningIngest;
  /** Resolves when the ingest has ended and all who waited were told. */
  readonly ended: Promise<void>;
  #outcome: IngestOutcome | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(ingest: RunningIngest) {
    this.ingest = ingest;
    this.ended = this.#follow();
  }

  /** undefined while it runs. */
  get outcome(): IngestOutcome | undefined {
    return this.#outcome;
  }

  /** Resolves at the next news, or rejects with the reason of the signal. */
  next(signal: AbortSignal): Promise<void> {
    if (this.#outcome !== undefined) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal.aborted) {
      reject(signal.reason);
      return promise;
    }
    const wake = (): void => {
      signal.removeEventListener('abort', leave);
      resolve();
    };
    const leave = (): void => {
      this.#waiting.delete(wake);
      reject(signal.reason);
    };
    this.#waiting.add(wake);
    signal.addEventListener('abort', leave, { once: true });
    return promise;
  }

  async #follow(): Promise<void> {
    const stop = new AbortController();
    const end = this.#end(stop);
    await this.#tellLeaves(stop.signal).catch(() => {
      // What ended the wait is told by the outcome.
    });
    await end;
    this.#wake();
  }

  async #end(stop: AbortController): Promise<void> {
    try {
      this.#outcome = await this.ingest.outcome;
    } catch {
      this.#outcome = 'failed';
    }
    stop.abort(new Error('the ingest has ended'));
  }

  async #tellLeaves(signal: AbortSignal): Promise<void> {
    const { ingest } = this;
    let leaves = Math.floor(ingest.received / LEAF_BYTES);
    let toldMs = Number.NEGATIVE_INFINITY;
    // When every byte is here, what is left to hear of is the end.
    while (ingest.received < ingest.size) {
      // oxlint-disable-next-line no-await-in-loop -- until its end
      await ingest.progress(ingest.received, { signal });
      signal.throwIfAborted();
      const now = Math.floor(ingest.received / LEAF_BYTES);
      if (now === leaves && ingest.received < ingest.size) continue;
      const gatherMs = Math.max(PROVISIONAL_GATHER_MS, gatherMsFor(this.#waiting.size));
      const restMs = toldMs + gatherMs - performance.now();
      // oxlint-disable-next-line no-await-in-loop -- until its end
      if (restMs > 0) await sleep(restMs, { signal });
      leaves = Math.floor(ingest.received / LEAF_BYTES);
      toldMs = performance.now();
      this.#wake();
    }
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}

/** How long news are held back so that those who wait can be answered. */
export function gatherMsFor(waiting: number): number {
  return Math.min(PROVISIONAL_GATHER_MAX_MS, (waiting / PROVISIONAL_ANSWERS_PER_SECOND) * 1000);
}
