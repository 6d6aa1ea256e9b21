import type { ChunkTable } from './chunk-table.ts';
import { URGENT_AHEAD_MS, URGENT_STOOD_MS, URGENT_WINDOW_CHUNKS } from './constants.ts';
import type { ReaderState } from './planner-port.ts';

/** A reader that has stood for too long at a chunk we do not hold. */
export function hasStood(reader: ReaderState, nowMs: number, ms = URGENT_STOOD_MS): boolean {
  return reader.waitingSinceMs !== undefined && nowMs - reader.waitingSinceMs >= ms;
}

function isUrgent(reader: ReaderState, gap: number, nowMs: number): boolean {
  if (reader.waitingSinceMs !== undefined) return hasStood(reader, nowMs);
  if (reader.chunksPerSecond <= 0) return false;
  return ((gap - reader.chunk) / reader.chunksPerSecond) * 1000 < URGENT_AHEAD_MS;
}

/**
 * The wanted chunks that come before all others, at most URGENT_WINDOW_CHUNKS over all readers:
 * the readers' next gaps, interleaved.
 */
export function urgentChunks(
  table: ChunkTable,
  readers: readonly ReaderState[],
  nowMs: number,
): number[] {
  const cursors: number[] = [];
  for (const reader of readers) {
    const gap = table.firstGap(reader.chunk);
    if (gap < table.count && isUrgent(reader, gap, nowMs)) cursors.push(gap);
  }
  const urgent = new Set<number>();
  let moved = cursors.length > 0;
  for (let round = 0; moved && round < URGENT_WINDOW_CHUNKS; round += 1) {
    moved = false;
    for (const [at, cursor] of cursors.entries()) {
      if (cursor >= table.count || urgent.size >= URGENT_WINDOW_CHUNKS) continue;
      if (table.isWanted(cursor)) urgent.add(cursor);
      cursors[at] = table.firstGap(cursor + 1);
      moved = true;
    }
  }
  return [...urgent];
}
