import { chunkIndexAt, chunkRange } from '../../proto/chunks/layout.ts';
import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import type { ChunkMemory } from './chunk-memory.ts';
import { FRESH_CHUNKS_BYTES, FRESH_CHUNK_MS } from './constants.ts';
import type { Cursors } from './cursors.ts';
import type { ChunkHold, ReceivedChunk } from './received-chunk.ts';
import type { Lease } from './supply.ts';

type Fresh = { chunk: ReceivedChunk; hold: ChunkHold; sinceMs: number };

/**
 * Chunks that have just been proved, for readers that come to them next: sent out of the buffer
 * they came in, they need not be read back, nor waited for until they are stored. Slow readers find
 * them in the store.
 */
export class FreshChunks {
  readonly #layout: ChunkLayout;
  readonly #cursors: Cursors;
  readonly #memory: ChunkMemory;
  readonly #chunks = new Map<number, Fresh>();

  constructor(layout: ChunkLayout, modules: { cursors: Cursors; memory: ChunkMemory }) {
    this.#layout = layout;
    this.#cursors = modules.cursors;
    this.#memory = modules.memory;
  }

  /** Keeps the chunk when a reader is close and there is room for it. */
  offer(index: number, chunk: ReceivedChunk, nowMs: number): void {
    if (this.#chunks.has(index) || !this.#isWanted(index)) return;
    const room = this.#memory.keep(chunk.bytes.length);
    if (room === undefined) return;
    chunk.charge(room);
    this.#chunks.set(index, { chunk, hold: chunk.hold(), sinceMs: nowMs });
  }

  has(index: number): boolean {
    return this.#chunks.has(index);
  }

  /** The bytes from `position` to the end of its chunk. */
  lend(position: number): Lease | undefined {
    const index = chunkIndexAt(this.#layout, position);
    const fresh = this.#chunks.get(index);
    if (fresh === undefined) return undefined;
    const hold = fresh.chunk.hold();
    let isFinished = false;
    return {
      bytes: fresh.chunk.bytes.subarray(position - chunkRange(this.#layout, index).start),
      finished: () => {
        isFinished = true;
      },
      [Symbol.dispose]: () => {
        if (isFinished) hold[Symbol.dispose]();
        else hold.spoil();
        if (!this.#isWanted(index)) this.drop(index);
      },
    };
  }

  drop(index: number): void {
    this.#chunks.get(index)?.hold[Symbol.dispose]();
    this.#chunks.delete(index);
  }

  /** Lets go of what no reader came to in time. */
  sweep(nowMs: number): void {
    for (const [index, { sinceMs }] of this.#chunks) {
      if (nowMs - sinceMs >= FRESH_CHUNK_MS || !this.#isWanted(index)) this.drop(index);
    }
  }

  clear(): void {
    for (const index of this.#chunks.keys()) this.drop(index);
  }

  #isWanted(index: number): boolean {
    return this.#cursors.isAhead(chunkRange(this.#layout, index), FRESH_CHUNKS_BYTES);
  }
}
