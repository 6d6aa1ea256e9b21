import type { StoredBlob } from '../store/port.ts';
import { Cursor } from './cursors.ts';
import { StoreError } from '../store/errors.ts';
import type { FetchMetrics } from './metrics.ts';
import type { FileSink } from './ports.ts';
import type { Supply } from './supply.ts';

/** For a reader of a blob that was all there and has lost a part. */
export function lostOf(digest: string): StoreError {
  return new StoreError(`a stored part of ${digest} was lost`, { code: 'CORRUPT', path: digest });
}

/** Has the sink take verified bytes out of their file, if they lie in one. */
export function passStored(
  blob: StoredBlob,
  position: number,
  length: number,
  sink: FileSink,
): Promise<number | undefined> {
  const take = (file: number): Promise<number | undefined> => sink.take(file, position, length);
  return blob.withFile?.(position, length, take) ?? Promise.resolve(undefined);
}

/** A blob that is in the store as a whole. */
export class StoredSupply implements Supply {
  readonly digest: string;
  readonly size: number;
  readonly #blob: StoredBlob;
  readonly #metrics: FetchMetrics;

  constructor(blob: StoredBlob, metrics: FetchMetrics) {
    this.digest = blob.digest;
    this.size = blob.size;
    this.#blob = blob;
    this.#metrics = metrics;
  }

  available(position: number): number {
    return this.size - position;
  }

  changed(): Promise<void> {
    return Promise.reject(lostOf(this.digest));
  }

  async read(into: Buffer, position: number): Promise<void> {
    await this.#blob.read(into, position);
    this.#metrics.bytes.inc({ source: 'local' }, into.length);
  }

  async pass(position: number, length: number, sink: FileSink): Promise<number | undefined> {
    const passed = await passStored(this.#blob, position, length, sink);
    this.#metrics.bytes.inc({ source: 'local' }, passed ?? 0);
    return passed;
  }

  enter(position: number, nowMs: number): Cursor {
    return new Cursor(position, nowMs, () => {});
  }

  hold(): Disposable {
    return this.#blob.retain();
  }
}
