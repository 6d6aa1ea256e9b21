import { CodedError } from './errors.ts';

type Waiter = { permits: number; grant: () => void };

/** Counts permits; waiters are served in order and their number is bounded. */
export class Semaphore {
  readonly #permits: number;
  readonly #queueMax: number;
  readonly #waiters: Waiter[] = [];
  #inUse = 0;

  constructor(options: { permits: number; queueMax: number }) {
    this.#permits = options.permits;
    this.#queueMax = options.queueMax;
  }

  get inUse(): number {
    return this.#inUse;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /**
   * Takes permits; disposing gives them back.
   * @throws CodedError QUEUE_FULL when too many wait, PERMITS_INVALID for more than there are in
   * all, and the reason of the signal
   */
  async acquire(options: { permits?: number; signal?: AbortSignal } = {}): Promise<Disposable> {
    const { permits = 1, signal } = options;
    signal?.throwIfAborted();
    if (!Number.isSafeInteger(permits) || permits < 0 || permits > this.#permits) {
      const message = `${permits} of ${this.#permits} permits can never be given`;
      throw new CodedError(message, { code: 'PERMITS_INVALID' });
    }
    if (this.#waiters.length > 0 || this.#inUse + permits > this.#permits) {
      if (this.#waiters.length >= this.#queueMax) {
        throw new CodedError(`more than ${this.#queueMax} wait already`, { code: 'QUEUE_FULL' });
      }
      await this.#wait(permits, signal);
      // Its permits were taken when it was served.
      this.#inUse -= permits;
    }
    return this.#taken(permits);
  }

  /** Takes a permit when one is free and nobody waits. */
  tryAcquire(): Disposable | undefined {
    if (this.#waiters.length > 0 || this.#inUse >= this.#permits) return undefined;
    return this.#taken(1);
  }

  #taken(permits: number): Disposable {
    let held = true;
    this.#inUse += permits;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#inUse -= permits;
        this.#serve();
      },
    };
  }

  #wait(permits: number, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      reject(signal?.reason);
      this.#serve();
    };
    const waiter = {
      permits,
      grant: () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      },
    };
    this.#waiters.push(waiter);
    signal?.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  #serve(): void {
    for (;;) {
      const next = this.#waiters[0];
      if (!next || this.#inUse + next.permits > this.#permits) return;
      this.#waiters.shift();
      this.#inUse += next.permits;
      next.grant();
    }
  }
}
