import {
  LARGE_READERS_MAX,
  READERS_MAX,
  READ_BUFFERS_IDLE_MS,
  READ_BUFFERS_KEPT,
  READ_BUFFER_BYTES,
  SMALL_READ_BUFFER_BYTES,
} from './constants.ts';
import { freeBytes } from '../../proto/std/free-bytes.ts';
import { fetchError } from './errors.ts';

/** A buffer of one reader, made when it is looked at: one served out of memory needs none. */
export interface ReadBuffer extends Disposable {
  /** Its length, and the most that one read takes. */
  readonly pieceBytes: number;
  readonly buffer: Buffer;
  /** Nothing reads the buffer any more. */
  finished(): void;
}

/** Lends one buffer to each reader that needs one and keeps some for the next ones, for a while. */
export class ReadBuffers {
  readonly #free: Buffer[] = [];
  readonly #onChange: (lent: number) => void;
  #trimming: NodeJS.Timeout | undefined;
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
  lend(): ReadBuffer {
    if (this.#lent >= READERS_MAX) throw fetchError('BUSY', `more than ${READERS_MAX} readers`);
    this.#lent += 1;
    this.#onChange(this.#lent);
    const large = this.#large < LARGE_READERS_MAX;
    if (large) this.#large += 1;
    const pieceBytes = large ? READ_BUFFER_BYTES : SMALL_READ_BUFFER_BYTES;
    let buffer: Buffer | undefined;
    const take = (): Buffer =>
      (large ? this.#free.pop() : undefined) ?? Buffer.allocUnsafeSlow(pieceBytes);
    let out = true;
    let reusable = false;
    return {
      pieceBytes,
      get buffer() {
        buffer ??= take();
        return buffer;
      },
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
        if (keep && buffer !== undefined) this.#keep(buffer);
      },
    };
  }

  #keep(buffer: Buffer): void {
    this.#free.push(buffer);
    clearTimeout(this.#trimming);
    this.#trimming = setTimeout(() => {
      for (const unused of this.#free.splice(0)) freeBytes(unused);
    }, READ_BUFFERS_IDLE_MS);
    this.#trimming.unref();
  }
}
