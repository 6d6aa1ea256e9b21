import { abortable } from '../../proto/std/abort.ts';

/** One at a time for each key; the others wait in order. Keys are held while somebody has them. */
export class Turns {
  readonly #ends = new Map<string, Promise<void>>();

  /** Does the work when those before it have ended. Rejects with the reason of the signal. */
  async run<T>(
    key: string,
    { signal }: { signal: AbortSignal },
    work: () => Promise<T>,
  ): Promise<T> {
    const own = Promise.withResolvers<void>();
    const before = this.#ends.get(key);
    const end = after(before, own.promise);
    this.#ends.set(key, end);
    try {
      if (before !== undefined) await abortable(before, signal);
      return await work();
    } finally {
      own.resolve();
      if (this.#ends.get(key) === end) this.#ends.delete(key);
    }
  }
}

/** One that gave up its turn does not let those behind it overtake those before it. */
async function after(before: Promise<void> | undefined, own: Promise<void>): Promise<void> {
  await own;
  await before;
}
