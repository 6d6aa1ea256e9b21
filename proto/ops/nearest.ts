import { SUGGESTION_DISTANCE_MAX } from './constants.ts';

/**
 * The candidate that `word` was most likely meant to be: equal but for case and separators, or
 * within a third of its length in edits (at most SUGGESTION_DISTANCE_MAX). Undefined when none.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const bare = normalise(word);
  let best: string | undefined;
  let bestDistance = Math.min(SUGGESTION_DISTANCE_MAX, Math.ceil(bare.length / 3)) + 1;
  for (const candidate of candidates) {
    const other = normalise(candidate);
    if (Math.abs(other.length - bare.length) >= bestDistance) continue;
    const distance = editDistance(bare, other);
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  return best;
}

function normalise(word: string): string {
  return word.replaceAll(/[-_]/g, '').toLowerCase();
}

/** Insertions, deletions, replacements and swaps of neighbours between two short words. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2];
      if (swapped && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, at(beforeLast, column - 2) + 1);
      }
      current.push(cost);
    }
    beforeLast = last;
    last = current;
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
