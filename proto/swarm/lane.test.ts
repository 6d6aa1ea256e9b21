import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { BLOB_MAX_BYTES, layoutOf } from '../chunks/layout.ts';
import { hasCode } from '../std/errors.ts';
import { ChunkBitmap } from './bitmap.ts';
import { decodeLaneHave, encodeLaneHave, LANE_HAVE_MAX_BYTES } from './lane.ts';

/** A blob, and some of its chunks. */
const HELD = fc.integer({ min: 0, max: BLOB_MAX_BYTES }).chain((size) => {
  const { chunkCount } = layoutOf(size);
  const indices = fc.uniqueArray(fc.integer({ min: 0, max: Math.max(0, chunkCount - 1) }));
  return indices.map((held) => {
    const bitmap = new ChunkBitmap(chunkCount);
    for (const index of held) if (index < chunkCount) bitmap.set(index);
    return { size, bitmap };
  });
});

test('what a peer holds comes back as it was told, within its limit', () => {
  fc.assert(
    fc.property(HELD, ({ size, bitmap }) => {
      const bytes = encodeLaneHave({ size, bitmap });
      assert.ok(bytes.length <= LANE_HAVE_MAX_BYTES);
      const { chunkCount } = layoutOf(size);
      const { complete } = bitmap;
      assert.deepEqual(decodeLaneHave(bytes), { size, chunkCount, bitmap, complete });
    }),
  );
});

test('arbitrary bytes give nothing but a SwarmError, or what was told in just these bytes', () => {
  const bytes = fc.uint8Array({ maxLength: LANE_HAVE_MAX_BYTES + 1 });
  fc.assert(
    fc.property(bytes, (input) => {
      try {
        assert.ok(encodeLaneHave(decodeLaneHave(Buffer.from(input))).equals(input));
      } catch (err) {
        if (!hasCode(err, 'BAD_MESSAGE', 'BAD_BITMAP')) throw err;
      }
    }),
  );
});

test('a chunk beyond the blob, a bitmap of another size and an impossible size are refused', () => {
  const size = 70 * 1024 ** 2;
  const whole = encodeLaneHave({ size, bitmap: ChunkBitmap.full(layoutOf(size).chunkCount) });
  const beyond = Buffer.from(whole).fill(0xff, whole.length - 1);
  const short = whole.subarray(0, -1);
  const huge = Buffer.from(whole).fill(0xff, 0, 8);
  for (const bytes of [beyond, short, huge, Buffer.alloc(7)]) {
    assert.throws(
      () => decodeLaneHave(bytes),
      (err) => hasCode(err, 'BAD_MESSAGE', 'BAD_BITMAP'),
    );
  }
});
