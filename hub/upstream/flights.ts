import { CodedError } from '../../proto/std/errors.ts';

/** Work that many ask for at once and that is done once. It ends by itself, whoever leaves. */
export class Flights<T> {
  readonly #max: number;
  readonly #running = new Map<string, Promise<T>>();

  constructor(options: { max: number }) {
    this.#max = options.max;
  }

  get count(): number {
    return this.#running.size;
  }

  /** @throws CodedError QUEUE_FULL */
  run(key: string, task: () => Promise<T>): Promise<T> {
    const known = this.#running.get(key);
    if (known !== undefined) return known;
    if (this.#running.size >= this.#max) {
      throw new CodedError(`${this.#max} are asked for already`, { code: 'QUEUE_FULL' });
    }
    const work = task().finally(() => this.#running.delete(key));
    this.#running.set(key, work);
    // Who asked may have left.
    work.catch(() => undefined);
    return work;
  }
}
