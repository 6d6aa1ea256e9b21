import { CodedError } from '../../proto/std/errors.ts';
import { QUESTION_SLOTS_SHARE, SLOT_WAITERS_MAX } from './constants.ts';

type Waiter = { grant: () => void };

/** What a slot is for, the first before the others: `blob` has it until its last byte is here. */
export type SlotUse = 'question' | 'blob' | 'scheduled';

const USES: readonly SlotUse[] = ['question', 'blob', 'scheduled'];

/**
 * Requests to one upstream at the same time. What runtimes wait for goes first, and a part is kept
 * for it; a part of that for what is answered at once, so that no tag waits for layers.
 */
export class Slots {
  readonly #max: number;
  readonly #scheduledMax: number;
  readonly #longMax: number;
  readonly #waiting: Record<SlotUse, Waiter[]> = { question: [], blob: [], scheduled: [] };
  readonly #used: Record<SlotUse, number> = { question: 0, blob: 0, scheduled: 0 };

  /** `reserve`: percent. */
  constructor({ connections, reserve }: { connections: number; reserve: number }) {
    this.#max = connections;
    this.#scheduledMax = Math.max(1, connections - Math.ceil((connections * reserve) / 100));
    this.#longMax = Math.max(1, connections - Math.ceil(connections / QUESTION_SLOTS_SHARE));
  }

  get used(): number {
    return this.#used.question + this.#long;
  }

  get waiting(): number {
    return USES.reduce((sum, use) => sum + this.#waiting[use].length, 0);
  }

  /**
   * Takes a slot; disposing gives it back. @throws CodedError QUEUE_FULL when too many wait, and
   * the reason of the signal
   */
  async take(use: SlotUse, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#isFree(use) && this.#waiting[use].length === 0) return this.#taken(use);
    if (this.waiting >= SLOT_WAITERS_MAX) {
      throw new CodedError(`${SLOT_WAITERS_MAX} requests wait already`, { code: 'QUEUE_FULL' });
    }
    const { promise, resolve, reject } = Promise.withResolvers<Disposable>();
    const queue = this.#waiting[use];
    const onAbort = (): void => {
      queue.splice(queue.indexOf(waiter), 1);
      reject(signal.reason);
    };
    const waiter = {
      grant: () => {
        signal.removeEventListener('abort', onAbort);
        resolve(this.#taken(use));
      },
    };
    queue.push(waiter);
    signal.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  /** What may take long; most of what is planned does. */
  get #long(): number {
    return this.#used.blob + this.#used.scheduled;
  }

  #isFree(use: SlotUse): boolean {
    if (this.used >= this.#max) return false;
    if (use === 'question') return true;
    const hasShare = use === 'scheduled' && this.#used.scheduled >= this.#scheduledMax;
    return !hasShare && this.#long < this.#longMax;
  }

  #taken(use: SlotUse): Disposable {
    let held = true;
    this.#used[use] += 1;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#used[use] -= 1;
        this.#serve();
      },
    };
  }

  #serve(): void {
    for (const use of USES) {
      while (this.#isFree(use)) {
        const next = this.#waiting[use].shift();
        if (next === undefined) break;
        next.grant();
      }
    }
  }
}
