import { CodedError } from '../../proto/std/errors.ts';
import { SLOT_WAITERS_MAX } from './constants.ts';
import type { Urgency } from './port.ts';

type Waiter = { grant: () => void };

/**
 * Requests to one upstream at the same time. What runtimes wait for goes first, and a part is kept
 * for it.
 */
export class Slots {
  readonly #max: number;
  readonly #scheduledMax: number;
  readonly #waiting: Record<Urgency, Waiter[]> = { interactive: [], scheduled: [] };
  readonly #used: Record<Urgency, number> = { interactive: 0, scheduled: 0 };

  /** `reserve`: percent. */
  constructor({ connections, reserve }: { connections: number; reserve: number }) {
    this.#max = connections;
    this.#scheduledMax = Math.max(1, connections - Math.ceil((connections * reserve) / 100));
  }

  get used(): number {
    return this.#used.interactive + this.#used.scheduled;
  }

  get waiting(): number {
    return this.#waiting.interactive.length + this.#waiting.scheduled.length;
  }

  /**
   * Takes a slot; disposing gives it back. @throws CodedError QUEUE_FULL when too many wait, and
   * the reason of the signal
   */
  async take(urgency: Urgency, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#isFree(urgency) && this.#waiting[urgency].length === 0) return this.#taken(urgency);
    if (this.waiting >= SLOT_WAITERS_MAX) {
      throw new CodedError(`${SLOT_WAITERS_MAX} requests wait already`, { code: 'QUEUE_FULL' });
    }
    const { promise, resolve, reject } = Promise.withResolvers<Disposable>();
    const queue = this.#waiting[urgency];
    const onAbort = (): void => {
      queue.splice(queue.indexOf(waiter), 1);
      reject(signal.reason);
    };
    const waiter = {
      grant: () => {
        signal.removeEventListener('abort', onAbort);
        resolve(this.#taken(urgency));
      },
    };
    queue.push(waiter);
    signal.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  #isFree(urgency: Urgency): boolean {
    if (this.used >= this.#max) return false;
    return urgency === 'interactive' || this.#used.scheduled < this.#scheduledMax;
  }

  #taken(urgency: Urgency): Disposable {
    let held = true;
    this.#used[urgency] += 1;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#used[urgency] -= 1;
        this.#serve();
      },
    };
  }

  #serve(): void {
    for (const urgency of ['interactive', 'scheduled'] as const) {
      while (this.#isFree(urgency)) {
        const next = this.#waiting[urgency].shift();
        if (next === undefined) break;
        next.grant();
      }
    }
  }
}
