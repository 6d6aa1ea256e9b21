/** Wakes everybody who waits for a change. Bounded by the number of readers. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Resolves at the next change, or rejects with the reason of the signal. */
  next(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal.aborted) {
      reject(signal.reason);
      return promise;
    }
    const leave = (): void => {
      this.#waiting.delete(wake);
      signal.removeEventListener('abort', onAbort);
    };
    const wake = (): void => {
      leave();
      resolve();
    };
    const onAbort = (): void => {
      leave();
      reject(signal.reason);
    };
    this.#waiting.add(wake);
    signal.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  wakeAll(): void {
    for (const wake of this.#waiting) wake();
  }
}
