import { CROSSINGS_MISSED_MAX, CROSSING_MISSED_MS } from './constants.ts';

/**
 * Since when members ask for chunks that their zone has: whoever goes on asking cannot get them
 * there. Of all blobs together CROSSINGS_MISSED_MAX are remembered, those asked for last.
 */
export class MissedChunks {
  readonly #known = new Map<string, { fromMs: number; askedMs: number }>();

  #blobs = 0;

  /** A number that tells one blob apart from all others. */
  blob(): number {
    return (this.#blobs += 1);
  }

  /** A member asks; true when it has done so for CROSSING_MISSED_MS. */
  asked(key: string, nowMs: number): boolean {
    const known = this.#known.get(key);
    const isNew = known === undefined || nowMs - known.askedMs > CROSSING_MISSED_MS;
    const fromMs = isNew ? nowMs : known.fromMs;
    this.#known.delete(key);
    const oldest = this.#known.keys().next();
    if (this.#known.size >= CROSSINGS_MISSED_MAX && oldest.done === false) {
      this.#known.delete(oldest.value);
    }
    this.#known.set(key, { fromMs, askedMs: nowMs });
    return nowMs - fromMs >= CROSSING_MISSED_MS;
  }
}
