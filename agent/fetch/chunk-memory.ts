import { Semaphore } from '../../proto/std/semaphore.ts';
import {
  CHUNK_MEMORY_BYTES,
  CHUNK_MEMORY_QUEUE_MAX,
  EARLY_CHUNKS_MAX,
  FRESH_CHUNKS_BYTES,
} from './constants.ts';

const UNIT_BYTES = 64 * 1024;

/** Bounds the bytes of chunks between network and disk over all downloads of the agent. */
export class ChunkMemory {
  readonly #units: number;
  readonly #semaphore: Semaphore;
  readonly #early = new Semaphore({ permits: EARLY_CHUNKS_MAX, queueMax: 0 });
  readonly #keptMax: number;
  #kept = 0;

  constructor(options: { bytes?: number } = {}) {
    this.#units = Math.max(1, Math.floor((options.bytes ?? CHUNK_MEMORY_BYTES) / UNIT_BYTES));
    this.#keptMax = Math.min(FRESH_CHUNKS_BYTES, (this.#units * UNIT_BYTES) / 2);
    this.#semaphore = new Semaphore({ permits: this.#units, queueMax: CHUNK_MEMORY_QUEUE_MAX });
  }

  /** Bytes of chunks kept for readers. */
  get bytesKept(): number {
    return this.#kept;
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

  /**
   * Leave to fetch a chunk before it can be checked, which may take its room for long.
   * @throws CodedError QUEUE_FULL when enough do
   */
  early(): Promise<Disposable> {
    return this.#early.acquire();
  }

  /** Lets a chunk that has its room stay in it for readers; undefined: enough of them do. */
  keep(bytes: number): Disposable | undefined {
    if (this.#kept + bytes > this.#keptMax) return undefined;
    this.#kept += bytes;
    return {
      [Symbol.dispose]: () => {
        this.#kept -= bytes;
      },
    };
  }
}
