import { LRUCache } from 'lru-cache';

/** Rows of the catalog, each remembered for a while; also that there is none. */
export class Remembered<Row extends object> {
  readonly #rows: LRUCache<string, { row: Row | undefined }>;
  readonly #load: (...names: string[]) => Promise<Row | undefined>;
  readonly #now: () => number;
  #generation = 0;

  constructor(
    options: { max: number; ttlMs: number; now: () => number },
    modules: { load: (...names: string[]) => Promise<Row | undefined> },
  ) {
    const { max, ttlMs: ttl, now } = options;
    this.#rows = new LRUCache({ max, ttl, perf: { now }, ttlResolution: 0 });
    this.#now = now;
    this.#load = modules.load;
  }

  async get(...names: string[]): Promise<Row | undefined> {
    const key = names.join('\n');
    // No stored name has a NUL, and PostgreSQL takes none.
    if (key.includes('\0')) return undefined;
    const known = this.#rows.get(key);
    if (known !== undefined) return known.row;
    const generation = this.#generation;
    // A row is as old as the question: another hub may have changed it since.
    const start = this.#now();
    const row = await this.#load(...names);
    // What was read before a change is not kept after it.
    if (generation === this.#generation) this.#rows.set(key, { row }, { start });
    return row;
  }

  clear(): void {
    this.#generation++;
    this.#rows.clear();
  }
}
