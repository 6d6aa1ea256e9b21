/** Smallest power of two; shares are not new sizes with each body that begins or ends. */
const BASE = 2;

/**
 * Gives the memory of bytes back at once: whoever asks uses them no more, and nobody else does. The
 * collector of garbage comes late to what is outside the JavaScript heap, so that what streams by
 * would fill it. Does nothing to a part of something larger, which others may use.
 */
export function freeBytes({ buffer, byteLength }: Uint8Array): void {
  const isWhole = byteLength > 0 && buffer.byteLength === byteLength;
  if (isWhole && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** Of one body. */
export interface MemoryPlace extends Disposable {
  /** Bytes that it may hold now. */
  readonly share: number;
}

/** Memory that all bodies under way in one direction share evenly, within bounds for each. */
export class BufferMemory {
  readonly #options: { totalBytes: number; minBytes: number; maxBytes: number };
  #open = 0;

  constructor(options: { totalBytes: number; minBytes: number; maxBytes: number }) {
    this.#options = options;
  }

  /** Begins a body; disposing of it ends that. */
  enter(): MemoryPlace {
    let open = true;
    this.#open += 1;
    const share = (): number => this.#share();
    return {
      get share() {
        return share();
      },
      [Symbol.dispose]: () => {
        if (open) this.#open -= 1;
        open = false;
      },
    };
  }

  #share(): number {
    const { totalBytes, minBytes, maxBytes } = this.#options;
    const even = totalBytes / Math.max(1, this.#open);
    const rounded = BASE ** Math.floor(Math.log2(even));
    return Math.min(maxBytes, Math.max(minBytes, rounded));
  }
}
