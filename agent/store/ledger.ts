import type { Digest } from '../../proto/oci/digest.ts';
import { storeFull } from './errors.ts';
import type { Entry, IndexedEntry, StoreIndex } from './store-index.ts';

export type EvictionReason = 'quota' | 'disk' | 'entries';

export type LedgerLimits = {
  /** The hard limit on promised bytes. */
  quotaBytes: number;
  /** Shares of the quota: above the first, blobs leave until the second. */
  highWater: number;
  lowWater: number;
  entriesMax: number;
};

export type LedgerModules = {
  index: StoreIndex;
  /** True while it is being read, written or served. */
  isInUse: (entry: IndexedEntry) => boolean;
  /** Hides them all at once, then deletes files and rows, which are marked as leaving already. */
  remove: (entries: readonly IndexedEntry[]) => Promise<void>;
  onEvict: (reason: EvictionReason, count: number) => void;
};

/**
 * Who takes how much of the quota. All decisions are made at once, without waiting, so that two
 * admissions cannot promise the same bytes.
 */
export class Ledger {
  readonly #modules: LedgerModules;
  #limits: LedgerLimits;
  /** Promised to what has no row: spools. */
  #reserved = 0;
  #lowering: Promise<void> | undefined;

  constructor(limits: LedgerLimits, modules: LedgerModules) {
    this.#limits = limits;
    this.#modules = modules;
  }

  get quotaBytes(): number {
    return this.#limits.quotaBytes;
  }

  set quotaBytes(quotaBytes: number) {
    this.#limits = { ...this.#limits, quotaBytes };
  }

  /** Bytes promised. */
  get bytes(): number {
    return this.#modules.index.totals().bytes + this.#reserved;
  }

  /**
   * Books the entry and resolves when the evicted ones are gone from disk.
   * @throws StoreError STORE_FULL, booking nothing, when what may be evicted is not enough; errors
   * of the index
   */
  async admit(entry: Entry): Promise<void> {
    const victims = this.#victimsFor(entry.bytes);
    this.#modules.index.put(entry);
    await this.#evict(victims, 'quota');
    await this.#evict(this.#surplus(entry.digest), 'entries');
    this.#lowerSoon();
  }

  /**
   * The same for bytes that have no name yet. Disposing gives them back.
   * @throws what admit() throws, booking nothing
   */
  async reserve(bytes: number): Promise<Disposable> {
    const victims = this.#victimsFor(bytes);
    this.#reserved += bytes;
    using undo = new DisposableStack();
    undo.defer(() => {
      this.#reserved -= bytes;
    });
    await this.#evict(victims, 'quota');
    this.#lowerSoon();
    return undo.move();
  }

  /**
   * Whether so much more stays below the high-water mark, once as much as has to left of what is
   * neither pinned nor in use. Books and evicts nothing.
   * @throws errors of the index
   */
  hasRoomFor(bytes: number): boolean {
    const { quotaBytes, highWater } = this.#limits;
    let excess = this.bytes + bytes - quotaBytes * highWater;
    if (excess <= 0 || bytes > quotaBytes * highWater) return excess <= 0;
    this.#modules.index.eachVictim((entry) => {
      if (!this.#modules.isInUse(entry)) excess -= entry.bytes;
      return excess > 0;
    });
    return excess <= 0;
  }

  /** Evicts at least `bytes`, least recently read first; false when not so much could go. */
  async shrink(bytes: number, reason: EvictionReason): Promise<boolean> {
    const victims: IndexedEntry[] = [];
    let freed = 0;
    this.#modules.index.eachVictim((entry) => {
      if (freed >= bytes) return false;
      if (entry.bytes === 0 || this.#modules.isInUse(entry)) return true;
      victims.push(entry);
      freed += entry.bytes;
      return true;
    });
    await this.#evict(victims, reason);
    return freed >= bytes;
  }

  /** Resolves when nothing is being evicted to reach the low-water mark. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#lowering]);
  }

  /** Above the high-water mark blobs leave in the background, so that new ones need not wait. */
  #lowerSoon(): void {
    const { quotaBytes, highWater } = this.#limits;
    if (this.bytes <= quotaBytes * highWater || this.#lowering !== undefined) return;
    this.#lowering = this.#lower().finally(() => {
      this.#lowering = undefined;
    });
    this.#lowering.catch(() => {});
  }

  async #lower(): Promise<void> {
    const { quotaBytes, lowWater } = this.#limits;
    await this.shrink(this.bytes - quotaBytes * lowWater, 'quota');
  }

  /** Down to the low-water mark if that is possible, else at least under the quota. */
  #victimsFor(newBytes: number): IndexedEntry[] {
    const { quotaBytes, lowWater } = this.#limits;
    const { index, isInUse } = this.#modules;
    const inUseBytes = this.bytes;
    const victims: IndexedEntry[] = [];
    let left = inUseBytes;
    if (newBytes > 0 && left + newBytes > quotaBytes && newBytes <= quotaBytes) {
      const goal = quotaBytes * lowWater - newBytes;
      index.eachVictim((entry) => {
        if (left <= goal) return false;
        if (entry.bytes === 0 || isInUse(entry)) return true;
        victims.push(entry);
        left -= entry.bytes;
        return true;
      });
    }
    if (newBytes === 0 || left + newBytes <= quotaBytes) return victims;
    throw storeFull(`${inUseBytes} of ${quotaBytes} are in use`, newBytes, quotaBytes);
  }

  #surplus(newest: Digest): IndexedEntry[] {
    const { index, isInUse } = this.#modules;
    let surplus = index.totals().entries - this.#limits.entriesMax;
    const victims: IndexedEntry[] = [];
    if (surplus <= 0) return victims;
    index.eachVictim((entry) => {
      if (surplus <= 0) return false;
      if (entry.digest === newest || isInUse(entry)) return true;
      victims.push(entry);
      surplus -= 1;
      return true;
    });
    return victims;
  }

  async #evict(victims: readonly IndexedEntry[], reason: EvictionReason): Promise<void> {
    if (victims.length === 0) return;
    this.#modules.index.leave(victims.map(({ digest }) => digest));
    this.#modules.onEvict(reason, victims.length);
    await this.#modules.remove(victims);
  }
}
