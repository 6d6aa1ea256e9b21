import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import { chunkRange } from '../../proto/chunks/layout.ts';
import { HASH_BYTES, chunkHash } from '../../proto/chunks/merkle.ts';
import type { Semaphore } from '../../proto/std/semaphore.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';

export type ProverModules = {
  /** A turn for each chunk that is read back as a whole. */
  proving: Semaphore;
  /** Fills the buffer from a position; false when the bytes are not to be had. */
  fill: (into: Buffer, position: number) => Promise<boolean>;
};

/** Which chunks this process has seen to hash right, and the reading back of the others. */
export class ChunkProver {
  readonly #blob: { layout: ChunkLayout; hashes: Buffer };
  readonly #modules: ProverModules;
  readonly #proved: ChunkBitmap;
  readonly #proving = new Map<number, Promise<boolean>>();

  constructor(blob: { layout: ChunkLayout; hashes: Buffer }, modules: ProverModules) {
    this.#blob = blob;
    this.#modules = modules;
    this.#proved = new ChunkBitmap(blob.layout.chunkCount);
  }

  has(index: number): boolean {
    return this.#proved.has(index);
  }

  set(index: number): void {
    this.#proved.set(index);
  }

  clear(index: number): void {
    this.#proved.clear(index);
  }

  lengthOf(index: number): number {
    const { start, end } = chunkRange(this.#blob.layout, index);
    return end - start;
  }

  /**
   * Hashes a chunk before its first use, once for all who wait for it. `judge` is told what came
   * out, before they are.
   */
  async prove(index: number, judge: (good: boolean) => void): Promise<boolean> {
    const running = this.#proving.get(index) ?? this.#prove(index, judge);
    this.#proving.set(index, running);
    try {
      return await running;
    } finally {
      this.#proving.delete(index);
    }
  }

  /** Reads a chunk into `into`, which is long enough, and hashes it. */
  async isIntact(index: number, into: Buffer): Promise<boolean> {
    const bytes = into.subarray(0, this.lengthOf(index));
    const expected = this.#blob.hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
    const { start } = chunkRange(this.#blob.layout, index);
    return (await this.#modules.fill(bytes, start)) && chunkHash(bytes).equals(expected);
  }

  async #prove(index: number, judge: (good: boolean) => void): Promise<boolean> {
    using turn = await this.#modules.proving.acquire();
    void turn;
    const good = await this.isIntact(index, Buffer.allocUnsafeSlow(this.lengthOf(index)));
    if (good) this.#proved.set(index);
    judge(good);
    return good;
  }
}
