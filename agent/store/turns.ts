import type { Digest } from '../../proto/oci/digest.ts';

/** One task at a time for each digest. */
export class Turns {
  readonly #running = new Map<Digest, Promise<unknown>>();

  /** Runs `task` after those for the same digest, unless `check` throws by then. */
  async take<T>(digest: Digest, check: () => void, task: () => Promise<T>): Promise<T> {
    for (;;) {
      const running = this.#running.get(digest);
      if (running === undefined) break;
      // oxlint-disable-next-line no-await-in-loop -- until it is our turn
      await Promise.allSettled([running]);
    }
    check();
    const own = task();
    this.#running.set(digest, own);
    try {
      return await own;
    } finally {
      this.#running.delete(digest);
    }
  }

  /** Resolves when what runs now has ended. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }
}
