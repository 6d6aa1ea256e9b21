import { Semaphore } from '../../proto/std/semaphore.ts';
import { CHUNK_MEMORY_BYTES, CHUNK_MEMORY_QUEUE_MAX } from './constants.ts';

const UNIT_BYTES = 64 * 1024;

/** Bounds the bytes of chunks between network and disk over all downloads of the agent. */
export class ChunkMemory {
  readonly #units: number;
  readonly #semaphore: Semaphore;

  constructor(options: { bytes?: number } = {}) {
    this.#units = Math.max(1, Math.floor((options.bytes ?? CHUNK_MEMORY_BYTES) / UNIT_BYTES));
    this.#semaphore = new Semaphore({ permits: this.#units, queueMax: CHUNK_MEMORY_QUEUE_MAX });
  }

  get bytesInUse(): number {
    return this.#semaphore.inUse * UNIT_BYTES;
  }

  /**
   * Room for a chunk; a chunk larger than the whole bound takes all of it.
   * @throws CodedError QUEUE_FULL, or the reason of the signal
   */
  acquire(bytes: number, signal: AbortSignal): Promise<Disposable> {
    const permits = Math.min(this.#units, Math.ceil(bytes / UNIT_BYTES));
    return this.#semaphore.acquire({ permits, signal });
  }
}
