import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PART_BUFFERS_BYTES, PARTS_MAX } from './constants.ts';
import { partBytesAfter } from './part-sizes.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** What S3 takes of a part that is not the last one. */
const PART_MIN_BYTES = 5 * MIB;

test('parts suffice for a blob of 300 GiB, and each fits the memory there is', () => {
  let total = 0;
  for (let count = 0; count < PARTS_MAX; count += 1) {
    const bytes = partBytesAfter(count);
    assert.ok(bytes !== undefined && bytes >= PART_MIN_BYTES && bytes <= PART_BUFFERS_BYTES);
    total += bytes;
  }
  assert.ok(total > 300 * GIB);
  assert.equal(partBytesAfter(PARTS_MAX), undefined);
});

test('a blob of usual size takes 8 MiB of memory', () => {
  for (let count = 0; count * 8 * MIB < 30 * GIB; count += 1) {
    assert.equal(partBytesAfter(count), 8 * MIB);
  }
});
