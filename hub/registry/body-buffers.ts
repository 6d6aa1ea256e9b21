import {
  BODY_BUFFERS,
  BODY_BUFFERS_MAX_BYTES,
  BODY_BUFFER_BYTES,
  BODY_BUFFER_SMALL_BYTES,
} from './constants.ts';

/** Room for the buffers of one body: so many, each of this size in bytes. */
export type BodyRoom = Disposable & { readonly size: number; readonly count: number };

/**
 * The memory that bodies under way are served from. As long as there is room each gets large
 * buffers; then small ones, so that readers who take no bytes hold little, however many they are.
 */
export class BodyBuffers {
  readonly #maxBytes: number;
  #used = 0;

  constructor(options: { maxBytes?: number } = {}) {
    this.#maxBytes = options.maxBytes ?? BODY_BUFFERS_MAX_BYTES;
  }

  /** Bytes of the large ones. */
  get used(): number {
    return this.#used;
  }

  /** For a body of so many bytes, until it is disposed. */
  take(bytes: number): BodyRoom {
    const large = Math.min(BODY_BUFFER_BYTES, bytes);
    const small = Math.min(BODY_BUFFER_SMALL_BYTES, bytes);
    const counted = large * countOf(large, bytes);
    const fits = large > small && this.#used + counted <= this.#maxBytes;
    const size = fits ? large : small;
    let held = fits ? counted : 0;
    this.#used += held;
    return {
      size,
      count: countOf(size, bytes),
      [Symbol.dispose]: () => {
        this.#used -= held;
        held = 0;
      },
    };
  }
}

/** A body that fits into one buffer needs no second. */
function countOf(size: number, bytes: number): number {
  return bytes <= size ? 1 : BODY_BUFFERS;
}
