import { ENTRIES_MAX, LOW_WATER_SHARE } from './constants.ts';
import { StoreError } from './errors.ts';

/** Something that takes room and may be given up. */
export type LedgerEntry = {
  readonly key: string;
  /** Bytes promised to it. */
  readonly bytes: number;
  /** Verified bytes it holds now. */
  heldBytes(): number;
  /** False while it is being read, written or served. */
  isEvictable(): boolean;
  remove(): Promise<void>;
};

export type EvictionReason = 'quota' | 'disk' | 'entries';

/**
 * Who takes how much of the quota, least recently used first. All decisions are made at once,
 * without waiting, so that two admissions cannot promise the same bytes.
 */
export class Ledger<E extends LedgerEntry = LedgerEntry> {
  readonly quotaBytes: number;
  readonly #entries = new Map<string, E>();
  readonly #onEvict: (reason: EvictionReason) => void;
  #bytes = 0;

  constructor(options: { quotaBytes: number }, onEvict: (reason: EvictionReason) => void) {
    this.quotaBytes = options.quotaBytes;
    this.#onEvict = onEvict;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get heldBytes(): number {
    let bytes = 0;
    for (const entry of this.#entries.values()) bytes += entry.heldBytes();
    return bytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): E | undefined {
    return this.#entries.get(key);
  }

  /** Most recently used first. */
  recent(): E[] {
    return [...this.#entries.values()].reverse();
  }

  touch(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
  }

  /** Takes what is on disk already, whatever the quota says. */
  adopt(entry: E): void {
    this.forget(entry.key);
    this.#entries.set(entry.key, entry);
    this.#bytes += entry.bytes;
  }

  /**
   * Books the entry and resolves when the evicted ones are gone from disk.
   * @throws StoreError STORE_FULL, booking nothing, when what may be evicted is not enough
   */
  async admit(entry: E): Promise<void> {
    const needed = this.#bytes + entry.bytes - this.quotaBytes;
    const victims = needed > 0 ? this.#victims(entry.bytes) : [];
    if (victims === undefined || entry.bytes > this.quotaBytes) {
      throw new StoreError(
        `no room for ${entry.bytes} bytes: ${this.#bytes} of ${this.quotaBytes} are in use`,
        { code: 'STORE_FULL', neededBytes: entry.bytes, quotaBytes: this.quotaBytes },
      );
    }
    this.adopt(entry);
    await this.#evict(victims, 'quota');
    await this.#evict(this.#surplus(entry), 'entries');
  }

  forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }

  /** Evicts at least `bytes`, least recently used first; false when nothing could go. */
  async shrink(bytes: number, reason: EvictionReason): Promise<boolean> {
    const victims: E[] = [];
    let freed = 0;
    for (const entry of this.#entries.values()) {
      if (freed >= bytes) break;
      if (!entry.isEvictable()) continue;
      victims.push(entry);
      freed += entry.bytes;
    }
    await this.#evict(victims, reason);
    return freed >= bytes;
  }

  /** Down to the low-water mark if that is possible, else at least under the quota. */
  #victims(newBytes: number): E[] | undefined {
    const goal = this.quotaBytes * LOW_WATER_SHARE - newBytes;
    const victims: E[] = [];
    let left = this.#bytes;
    for (const entry of this.#entries.values()) {
      if (left <= goal) break;
      if (!entry.isEvictable()) continue;
      victims.push(entry);
      left -= entry.bytes;
    }
    return left + newBytes <= this.quotaBytes ? victims : undefined;
  }

  #surplus(newest: E): E[] {
    let surplus = this.#entries.size - ENTRIES_MAX;
    const victims: E[] = [];
    for (const entry of this.#entries.values()) {
      if (surplus <= 0) break;
      if (entry === newest || !entry.isEvictable()) continue;
      victims.push(entry);
      surplus -= 1;
    }
    return victims;
  }

  async #evict(victims: E[], reason: EvictionReason): Promise<void> {
    for (const victim of victims) {
      this.forget(victim.key);
      this.#onEvict(reason);
    }
    await Promise.all(victims.map((victim) => victim.remove()));
  }
}
