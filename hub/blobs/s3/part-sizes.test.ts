import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, maxSafeInteger, property } from 'fast-check';
import { PART_BUFFERS_BYTES, PARTS_MAX } from './constants.ts';
import { blobBytesMax, partBytesAfter } from './part-sizes.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** What S3 takes of a part that is not the last one, and of a whole object. */
const PART_MIN_BYTES = 5 * MIB;
const OBJECT_MAX_BYTES = 5 * 1024 * GIB;

/** Sizes of the parts of a blob, as an upload that does not know its size sends them. */
function partsOf(size: number): number[] {
  const parts: number[] = [];
  for (let left = size; left > 0;) {
    const bytes = Math.min(left, partBytesAfter(parts.length) ?? 0);
    assert.ok(bytes > 0, `no part after ${parts.length}, ${left} bytes left`);
    parts.push(bytes);
    left -= bytes;
  }
  return parts;
}

test('every blob up to the largest has room in parts that S3 and the memory take', () => {
  const max = blobBytesMax(partBytesAfter);
  assert.ok(max > 380 * GIB && max <= OBJECT_MAX_BYTES);
  check(
    property(
      maxSafeInteger().map((n) => 1 + (Math.abs(n) % max)),
      (size) => {
        const parts = partsOf(size);
        assert.ok(parts.length <= PARTS_MAX);
        for (const bytes of parts) assert.ok(bytes <= PART_BUFFERS_BYTES);
        for (const bytes of parts.slice(0, -1)) assert.ok(bytes >= PART_MIN_BYTES);
      },
    ),
    { numRuns: 30, examples: [[max], [max - 1], [1]] },
  );
  assert.throws(() => partsOf(max + 1));
});

test('a blob of usual size takes 8 MiB of memory', () => {
  for (let count = 0; count * 8 * MIB < 30 * GIB; count += 1) {
    assert.equal(partBytesAfter(count), 8 * MIB);
  }
});
