import { ociError } from '../../proto/oci/errors.ts';

/** The places for uploads: so many in all, and no subject has more than a share of them. */
export class UploadPlaces {
  readonly #max: number;
  readonly #perSubjectMax: number;
  /** By subject, those in the store as far as this hub knows. */
  #stored = new Map<string, number>();
  /** By subject, those that are not, or not yet, in the store. */
  readonly #passing = new Map<string, number>();
  #sum = 0;

  constructor(options: { max: number; perSubjectMax: number }) {
    this.#max = options.max;
    this.#perSubjectMax = options.perSubjectMax;
  }

  /** All that are taken. */
  get taken(): number {
    return this.#sum;
  }

  isFullFor(subject: string): boolean {
    return this.#sum >= this.#max || this.hasShare(subject);
  }

  /** Whether the subject has all that one may have. */
  hasShare(subject: string): boolean {
    return this.#of(subject) >= this.#perSubjectMax;
  }

  /**
   * Takes a place for an upload that is not in the store.
   * @throws OciError TOOMANYREQUESTS
   */
  take(subject: string): void {
    if (this.hasShare(subject)) {
      const share = `you have ${this.#perSubjectMax} uploads open, the most for one account`;
      throw ociError('TOOMANYREQUESTS', `${share}; finish or cancel some, or try again later`);
    }
    if (this.#sum >= this.#max) {
      throw ociError('TOOMANYREQUESTS', `${this.#max} uploads are open; try again later`);
    }
    this.#add(this.#passing, subject, 1);
  }

  /** Gives back what was taken. */
  give(subject: string): void {
    this.#add(this.#passing, subject, -1);
  }

  /** One that was taken is in the store from now on. */
  keep(subject: string): void {
    this.#add(this.#passing, subject, -1);
    this.#add(this.#stored, subject, 1);
  }

  /** One of the store is not there any more. */
  remove(subject: string): void {
    this.#add(this.#stored, subject, -1);
  }

  /** Takes over what the store counts; what is kept while it counts is there as well. */
  async learn(count: () => Promise<ReadonlyMap<string, number>>): Promise<void> {
    const before = new Map(this.#stored);
    const counted = new Map(await count());
    for (const [subject, now] of this.#stored) {
      const more = now - (before.get(subject) ?? 0);
      if (more > 0) counted.set(subject, (counted.get(subject) ?? 0) + more);
    }
    this.#stored = counted;
    this.#sum = 0;
    for (const some of [this.#stored, this.#passing]) {
      for (const one of some.values()) this.#sum += one;
    }
  }

  #of(subject: string): number {
    return (this.#stored.get(subject) ?? 0) + (this.#passing.get(subject) ?? 0);
  }

  #add(map: Map<string, number>, subject: string, change: number): void {
    const before = map.get(subject) ?? 0;
    const after = Math.max(0, before + change);
    if (after === 0) map.delete(subject);
    else map.set(subject, after);
    this.#sum += after - before;
  }
}
