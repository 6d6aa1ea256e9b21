import { deadline } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { READER_STALL_MS, READ_BUFFER_BYTES, SINK_PIECE_BYTES } from './constants.ts';
import type { Cursor } from './cursors.ts';
import { fetchError } from './errors.ts';
import type { FetchMetrics } from './metrics.ts';
import type { FileSink, ReadOptions } from './ports.ts';
import type { ReadBuffers } from './read-buffers.ts';

/** Bytes of a blob that become readable over time. */
export interface Supply {
  readonly digest: string;
  readonly size: number;
  /** How many bytes from `position` on may be read now. */
  available(position: number): number;
  /** Resolves when something changed. Throws when the bytes will not come. */
  changed(signal: AbortSignal): Promise<void>;
  /** Fills `into`; only for bytes that are available. */
  read(into: Buffer, position: number): Promise<void>;
  /** Available bytes from `position` on that are in memory already, if there are any. */
  lend?(position: number): Lease | undefined;
  /**
   * Has the sink take available bytes from `position` on, at most `length`; returns what it does.
   * Absent: they lie in no file.
   */
  pass?(position: number, length: number, sink: FileSink): Promise<number | undefined>;
  enter(position: number, nowMs: number): Cursor;
  /** Keeps the bytes from eviction until disposed. */
  hold(): Disposable;
}

/** Bytes that do not change until disposed. */
export interface Lease extends Disposable {
  readonly bytes: Buffer;
  /** Before disposing: nothing reads the bytes any more. */
  finished(): void;
}

const NOTHING = Buffer.alloc(0);

export type ReadModules = { buffers: ReadBuffers; metrics: FetchMetrics };

/** @throws FetchError OUT_OF_RANGE */
export function checkRange(range: { start: number; end: number }, size: number): void {
  const { start, end } = range;
  if (Number.isSafeInteger(start) && start >= 0 && start <= end && end <= size) return;
  throw fetchError('OUT_OF_RANGE', `bytes ${start} to ${end} of ${size}`);
}

/**
 * Streams a range as it becomes available. A buffer is valid until the next iteration; an empty one
 * tells that the sink took bytes.
 * @throws FetchError STALLED without a byte for READER_STALL_MS; what the supply throws
 */
export async function* readSupply(
  supply: Supply,
  range: { start: number; end: number },
  modules: ReadModules,
  o: ReadOptions,
): AsyncGenerator<Buffer, void, undefined> {
  checkRange(range, supply.size);
  using lent = modules.buffers.lend();
  let at = range.start;
  using cursor = supply.enter(at, performance.now());
  while (at < range.end) {
    o.signal?.throwIfAborted();
    using fresh = supply.lend?.(at);
    const there = Math.min(fresh?.bytes.length ?? supply.available(at), range.end - at);
    if (there === 0) {
      await waitFor(supply, at, cursor, modules, o);
      continue;
    }
    const sink = fresh === undefined ? o.sink : undefined;
    // Everything that a supply offers is proved before: not the whole blob for its first bytes.
    const passed = sink && (await supply.pass?.(at, Math.min(there, READ_BUFFER_BYTES), sink));
    // What the sink does not take now it will take after a buffer, which need not be a large one.
    const pieceBytes = passed === 0 ? SINK_PIECE_BYTES : lent.pieceBytes;
    const length = passed || Math.min(there, pieceBytes);
    const view = passed ? NOTHING : (fresh?.bytes ?? lent.buffer).subarray(0, length);
    if (fresh === undefined && !passed) await supply.read(view, at);
    at += length;
    cursor.moved(length);
    yield view;
    fresh?.finished();
  }
  lent.finished();
}

async function waitFor(
  supply: Supply,
  at: number,
  cursor: Cursor,
  modules: ReadModules,
  o: ReadOptions,
): Promise<void> {
  const since = performance.now();
  cursor.waits(since);
  using limit = deadline(READER_STALL_MS, o.signal);
  try {
    while (supply.available(at) === 0) await supply.changed(limit.signal);
  } catch (err) {
    if (!hasCode(err, 'TIMEOUT') || o.signal?.aborted) throw err;
    const text = `no byte of ${supply.digest} at ${at} for ${READER_STALL_MS} ms`;
    throw fetchError('STALLED', text, supply.digest);
  } finally {
    const now = performance.now();
    cursor.flows(now);
    modules.metrics.stallSeconds.inc((now - since) / 1000);
  }
}
