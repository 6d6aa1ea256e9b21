import { Semaphore } from '../../proto/std/semaphore.ts';

/** Runs a few tasks at a time; after one has failed no more begin. Disposing waits for all. */
export class Lanes implements AsyncDisposable {
  readonly #max: number;
  readonly #free: Semaphore;
  #failed: { err: unknown } | undefined;

  constructor(max: number) {
    this.#max = max;
    this.#free = new Semaphore({ permits: max, queueMax: 1 });
  }

  /**
   * Resolves when the task has begun; the tasks before it may go on.
   * @throws what an earlier task has thrown
   */
  async add(task: () => Promise<void>): Promise<void> {
    const lane = await this.#free.acquire();
    if (this.#failed !== undefined) {
      lane[Symbol.dispose]();
      return this.end();
    }
    const failed = (err: unknown): void => void (this.#failed ??= { err });
    void task()
      .catch(failed)
      .finally(() => lane[Symbol.dispose]());
  }

  /** Resolves when all have ended. @throws what one of them has thrown */
  async end(): Promise<void> {
    const lanes: Disposable[] = [];
    for (let i = 0; i < this.#max; i += 1) lanes.push(await this.#free.acquire());
    for (const lane of lanes) lane[Symbol.dispose]();
    if (this.#failed !== undefined) throw this.#failed.err;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end().catch(() => undefined);
  }
}
