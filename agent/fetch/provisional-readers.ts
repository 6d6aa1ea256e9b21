import type { Cursor } from './cursors.ts';
import { PROVISIONAL_READERS_KEPT } from './constants.ts';
import type { Download } from './download.ts';
import type { OpenRequest } from './ports.ts';
import type { Lease, Supply } from './supply.ts';

/** How far a blob is known to be right. */
export type Standing = {
  /** A statement covers it. */
  readonly settled: boolean;
  /** Readers may have what was checked against leaves. */
  readonly released: boolean;
};

/**
 * What one reader gets of a blob that the hub still fetches: checked chunks but for the last byte,
 * or nothing, before a statement covers it. It can be cut, whatever becomes of the download.
 */
export class ProvisionalReader implements Supply {
  readonly digest: string;
  readonly size: number;
  readonly request: OpenRequest;
  readonly #download: Download;
  readonly #standing: Standing;
  #bytes = 0;
  #cut: Error | undefined;

  constructor(request: OpenRequest, download: Download, standing: Standing) {
    this.digest = download.digest;
    this.size = download.size;
    this.request = request;
    this.#download = download;
    this.#standing = standing;
  }

  /** Bytes that it got before a statement covered them. */
  get provisionalBytes(): number {
    return this.#bytes;
  }

  cut(failure: Error): void {
    this.#cut ??= failure;
  }

  available(position: number): number {
    if (this.#cut !== undefined) return 0;
    const there = this.#download.available(position);
    if (this.#standing.settled) return there;
    // Without its last byte nobody takes it for whole.
    return this.#standing.released ? Math.min(there, this.size - 1 - position) : 0;
  }

  changed(signal: AbortSignal): Promise<void> {
    return this.#cut === undefined ? this.#download.changed(signal) : Promise.reject(this.#cut);
  }

  async read(into: Buffer, position: number): Promise<void> {
    try {
      await this.#download.read(into, position);
    } catch (err) {
      throw this.#cut ?? err;
    }
    if (this.#cut !== undefined) throw this.#cut;
    this.#got(into.length);
  }

  lend(position: number): Lease | undefined {
    const may = this.available(position);
    if (may === 0 || may < this.#download.available(position)) return undefined;
    const lease = this.#download.lend(position);
    if (lease !== undefined) this.#got(lease.bytes.length);
    return lease;
  }

  enter(position: number, nowMs: number): Cursor {
    return this.#download.enter(position, nowMs);
  }

  hold(): Disposable {
    return this.#download.hold();
  }

  #got(bytes: number): void {
    if (!this.#standing.settled) this.#bytes += bytes;
  }
}

/** The readers of a blob that the hub still fetches, also those that are done. */
export class ProvisionalReaders {
  readonly #readers = new Set<ProvisionalReader>();

  /** Keeps a reader in mind; of more than PROVISIONAL_READERS_KEPT the oldest are forgotten. */
  add(reader: ProvisionalReader): void {
    const [oldest] = this.#readers;
    if (this.#readers.size >= PROVISIONAL_READERS_KEPT && oldest !== undefined) {
      this.#readers.delete(oldest);
    }
    this.#readers.add(reader);
  }

  /** Ends all readers; those that have read bytes which are not to be believed. */
  cut(failure: Error): ProvisionalReader[] {
    const all = [...this.#readers];
    this.#readers.clear();
    for (const reader of all) reader.cut(failure);
    return all.filter(({ provisionalBytes }) => provisionalBytes > 0);
  }

  clear(): void {
    this.#readers.clear();
  }
}
