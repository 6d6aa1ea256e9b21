import { PARTS_MAX } from './constants.ts';

const MIB = 1024 * 1024;
/** Parts up to this number have this many bytes. */
const STEPS = [
  { upTo: 4_000, bytes: 8 * MIB },
  { upTo: 7_000, bytes: 32 * MIB },
  { upTo: PARTS_MAX, bytes: 64 * MIB },
] as const;

/**
 * Bytes of the part that follows `count` others: small ones for memory's sake, larger ones when
 * there are many, because their number is bounded. Undefined when there can be no more.
 */
export function partBytesAfter(count: number): number | undefined {
  return STEPS.find(({ upTo }) => count < upTo)?.bytes;
}
