import {
  LARGE_READERS_MAX,
  READERS_MAX,
  READ_BUFFERS_KEPT,
  READ_BUFFER_BYTES,
  SMALL_READ_BUFFER_BYTES,
} from './constants.ts';
import { fetchError } from './errors.ts';

/** Lends one buffer to each reader and keeps some for the next ones. */
export class ReadBuffers {
  readonly #free: Buffer[] = [];
  readonly #onChange: (lent: number) => void;
  #lent = 0;
  #large = 0;

  constructor(onChange: (lent: number) => void = () => {}) {
    this.#onChange = onChange;
  }

  /**
   * A buffer until disposed. It is lent to others only after `finished()`: a reader that breaks off
   * may leave it in the hands of a socket, and those bytes must not change.
   * @throws FetchError BUSY with READERS_MAX out
   */
  lend(): { buffer: Buffer; finished: () => void } & Disposable {
    if (this.#lent >= READERS_MAX) throw fetchError('BUSY', `more than ${READERS_MAX} readers`);
    this.#lent += 1;
    this.#onChange(this.#lent);
    const large = this.#large < LARGE_READERS_MAX;
    if (large) this.#large += 1;
    const buffer = large
      ? (this.#free.pop() ?? Buffer.allocUnsafeSlow(READ_BUFFER_BYTES))
      : Buffer.allocUnsafeSlow(SMALL_READ_BUFFER_BYTES);
    let out = true;
    let reusable = false;
    return {
      buffer,
      finished: () => {
        reusable = true;
      },
      [Symbol.dispose]: () => {
        if (!out) return;
        out = false;
        this.#lent -= 1;
        this.#onChange(this.#lent);
        if (large) this.#large -= 1;
        const keep = large && reusable && this.#free.length < READ_BUFFERS_KEPT;
        if (keep) this.#free.push(buffer);
      },
    };
  }
}
