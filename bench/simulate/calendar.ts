const BUCKET_MS = 0.25;
const BUCKETS = 2 ** 17;
const FIRST_ROOM = 2 ** 16;

/** One event as it is handed out; the object is used again for the next one. */
export type Happening = { type: number; a: number; b: number; c: number; d: number };

/**
 * Events by time, in buckets of a quarter of a millisecond; within a bucket in the order they were
 * put in. At most 32 s ahead. Constant time per event and no garbage.
 */
export class Calendar {
  readonly #first = new Int32Array(BUCKETS).fill(-1);
  readonly #last = new Int32Array(BUCKETS).fill(-1);
  #next = new Int32Array(FIRST_ROOM);
  /** Type and four numbers of each event. */
  #data = new Int32Array(FIRST_ROOM * 5);
  #free = -1;
  #used = 0;
  #bucket = 0;
  #size = 0;

  /** Time of the bucket that is being emptied. */
  get nowMs(): number {
    return this.#bucket * BUCKET_MS;
  }

  get size(): number {
    return this.#size;
  }

  /** Puts an event in; one in the past comes next. Whole numbers of 32 bits only. */
  put(atMs: number, type: number, a: number, b = 0, c = 0, d = 0): void {
    const wanted = Math.max(this.#bucket, Math.ceil(atMs / BUCKET_MS));
    if (wanted - this.#bucket >= BUCKETS) throw new RangeError(`an event at ${atMs} ms`);
    const bucket = wanted % BUCKETS;
    const slot = this.#allocate();
    const at = slot * 5;
    const data = this.#data;
    data[at] = type;
    data[at + 1] = a;
    data[at + 2] = b;
    data[at + 3] = c;
    data[at + 4] = d;
    this.#next[slot] = -1;
    const last = this.#last[bucket] ?? -1;
    if (last < 0) this.#first[bucket] = slot;
    else this.#next[last] = slot;
    this.#last[bucket] = slot;
    this.#size += 1;
  }

  /** Fills in the next event before `endMs` and returns true; false when there is none. */
  take(endMs: number, into: Happening): boolean {
    const end = Math.ceil(endMs / BUCKET_MS);
    while (this.#bucket < end) {
      const bucket = this.#bucket % BUCKETS;
      const slot = this.#first[bucket] ?? -1;
      if (slot < 0) {
        this.#bucket += 1;
        continue;
      }
      const next = this.#next[slot] ?? -1;
      this.#first[bucket] = next;
      if (next < 0) this.#last[bucket] = -1;
      const at = slot * 5;
      const data = this.#data;
      into.type = data[at] ?? 0;
      into.a = data[at + 1] ?? 0;
      into.b = data[at + 2] ?? 0;
      into.c = data[at + 3] ?? 0;
      into.d = data[at + 4] ?? 0;
      this.#next[slot] = this.#free;
      this.#free = slot;
      this.#size -= 1;
      return true;
    }
    return false;
  }

  #allocate(): number {
    const slot = this.#free;
    if (slot >= 0) {
      this.#free = this.#next[slot] ?? -1;
      return slot;
    }
    if (this.#used === this.#next.length) {
      const next = new Int32Array(this.#used * 2);
      next.set(this.#next);
      this.#next = next;
      const data = new Int32Array(this.#used * 10);
      data.set(this.#data);
      this.#data = data;
    }
    this.#used += 1;
    return this.#used - 1;
  }
}
