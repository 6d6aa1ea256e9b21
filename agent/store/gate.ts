/** Lets many tasks run together, or one alone: that waits for them, and they for it. */
export class Gate {
  #together = 0;
  #alone: Promise<void> | undefined;
  #emptied: (() => void) | undefined;

  /** Runs a task beside others of its kind. */
  async together<T>(task: () => Promise<T>): Promise<T> {
    // oxlint-disable-next-line no-await-in-loop -- the next one may have come in first
    while (this.#alone !== undefined) await this.#alone;
    this.#together += 1;
    try {
      return await task();
    } finally {
      this.#together -= 1;
      if (this.#together === 0) this.#emptied?.();
    }
  }

  /** Runs a task when all others have ended. */
  async alone<T>(task: () => Promise<T> | T): Promise<T> {
    // oxlint-disable-next-line no-await-in-loop -- the next one may have come in first
    while (this.#alone !== undefined) await this.#alone;
    const done = Promise.withResolvers<void>();
    this.#alone = done.promise;
    try {
      if (this.#together > 0) {
        const empty = Promise.withResolvers<void>();
        this.#emptied = empty.resolve;
        await empty.promise;
        this.#emptied = undefined;
      }
      return await task();
    } finally {
      this.#alone = undefined;
      done.resolve();
    }
  }
}
