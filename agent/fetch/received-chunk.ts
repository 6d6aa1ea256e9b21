import type { ChunkBytes } from './ports.ts';

/** A share of a chunk in memory. */
export interface ChunkHold extends Disposable {
  /** Instead of disposing: something may still read the buffer, so nobody gets it again. */
  spoil(): void;
}

/** A chunk in memory with several holders. The last one to let go gives all of it back. */
export class ReceivedChunk {
  readonly bytes: Buffer;
  readonly #chunk: ChunkBytes;
  readonly #costs = new DisposableStack();
  #holders = 0;
  #spoilt = false;

  /** `room`: what the chunk takes as long as it is in memory. */
  constructor(chunk: ChunkBytes, room: Disposable) {
    this.bytes = chunk.bytes;
    this.#chunk = chunk;
    this.#costs.use(room);
  }

  /** Disposed of when the chunk leaves the memory. */
  charge(cost: Disposable): void {
    this.#costs.use(cost);
  }

  hold(): ChunkHold {
    this.#holders += 1;
    let held = true;
    const letGo = (spoilt: boolean): void => {
      if (!held) return;
      held = false;
      this.#spoilt ||= spoilt;
      this.#holders -= 1;
      if (this.#holders === 0) this.#free();
    };
    return { spoil: () => letGo(true), [Symbol.dispose]: () => letGo(false) };
  }

  #free(): void {
    if (this.#spoilt) this.#chunk.discard?.();
    else this.#chunk[Symbol.dispose]();
    this.#costs.dispose();
  }
}
