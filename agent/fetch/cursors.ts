import type { ReaderState } from './planner-port.ts';

const STEADY_MS = 1_000;

/** Where one reader stands and how fast it moves. */
export class Cursor implements Disposable {
  readonly #leave: (cursor: Cursor) => void;
  #position: number;
  #waitingSinceMs: number | undefined;
  #flowSinceMs: number;
  #flowBytes = 0;

  constructor(position: number, nowMs: number, leave: (cursor: Cursor) => void) {
    this.#position = position;
    this.#flowSinceMs = nowMs;
    this.#leave = leave;
  }

  get position(): number {
    return this.#position;
  }

  moved(bytes: number): void {
    this.#position += bytes;
    this.#flowBytes += bytes;
  }

  waits(nowMs: number): void {
    this.#waitingSinceMs ??= nowMs;
  }

  flows(nowMs: number): void {
    if (this.#waitingSinceMs === undefined) return;
    this.#waitingSinceMs = undefined;
    this.#flowSinceMs = nowMs;
    this.#flowBytes = 0;
  }

  state(chunkBytes: number, nowMs: number): ReaderState {
    const flowMs = nowMs - this.#flowSinceMs;
    const steady = this.#waitingSinceMs === undefined && flowMs >= STEADY_MS;
    return {
      chunk: Math.floor(this.#position / chunkBytes),
      waitingSinceMs: this.#waitingSinceMs,
      chunksPerSecond: steady ? (this.#flowBytes / chunkBytes / flowMs) * 1000 : 0,
    };
  }

  [Symbol.dispose](): void {
    this.#leave(this);
  }
}

/** The readers of one blob. Their number is bounded by READERS_MAX through their buffers. */
export class Cursors {
  readonly #cursors = new Set<Cursor>();

  get size(): number {
    return this.#cursors.size;
  }

  enter(position: number, nowMs: number): Cursor {
    const cursor = new Cursor(position, nowMs, (gone) => this.#cursors.delete(gone));
    this.#cursors.add(cursor);
    return cursor;
  }

  /** Whether some reader has not passed the range and is less than so many bytes before it. */
  isAhead(range: { start: number; end: number }, bytes: number): boolean {
    for (const { position } of this.#cursors) {
      if (position < range.end && range.start - position < bytes) return true;
    }
    return false;
  }

  states(chunkBytes: number, nowMs: number): ReaderState[] {
    return [...this.#cursors].map((cursor) => cursor.state(chunkBytes, nowMs));
  }
}
