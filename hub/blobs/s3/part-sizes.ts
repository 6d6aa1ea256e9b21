import { PARTS_MAX } from './constants.ts';

const MIB = 1024 * 1024;
/** Parts up to this number have this many bytes. */
const STEPS = [
  { upTo: 4_000, bytes: 8 * MIB },
  { upTo: 4_500, bytes: 32 * MIB },
  { upTo: PARTS_MAX, bytes: 64 * MIB },
] as const;

/** Bytes of the part that follows `count` others; undefined when there can be no more. */
export type PartSizes = (count: number) => number | undefined;

/** Small parts for memory's sake, larger ones when there are many, as their number is bounded. */
export const partBytesAfter: PartSizes = (count) => STEPS.find(({ upTo }) => count < upTo)?.bytes;

/** Bytes of the largest blob that has room in parts of these sizes. */
export function blobBytesMax(partBytes: PartSizes): number {
  let total = 0;
  for (let count = 0; count < PARTS_MAX; count += 1) total += partBytes(count) ?? 0;
  return total;
}
