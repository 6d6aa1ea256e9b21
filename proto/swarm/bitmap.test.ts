import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ChunkBitmap } from './bitmap.ts';

const SIZE = fc.integer({ min: 0, max: 300 });

test('a bitmap behaves like a set of indices and comes back from its bytes', () => {
  const operations = fc.array(fc.tuple(fc.boolean(), fc.nat(299)), { maxLength: 200 });
  fc.assert(
    fc.property(SIZE, operations, (size, steps) => {
      const bitmap = new ChunkBitmap(size);
      const model = new Set<number>();
      for (const [add, index] of steps.filter(([, at]) => at < size)) {
        assert.equal(add ? bitmap.set(index) : bitmap.clear(index), add !== model.has(index));
        if (add) model.add(index);
        else model.delete(index);
      }
      const all = Array.from({ length: size }, (_, i) => i);
      for (const map of [bitmap, ChunkBitmap.fromBytes(bitmap.toBytes(), size), bitmap.clone()]) {
        assert.equal(map.count, model.size);
        assert.equal(map.complete, model.size === size);
        assert.deepEqual(
          [...map.present()],
          all.filter((i) => model.has(i)),
        );
        assert.deepEqual(
          [...map.missing()],
          all.filter((i) => !model.has(i)),
        );
      }
    }),
  );
});

test('the difference of two bitmaps is what one of them holds alone', () => {
  const pair = fc.tuple(fc.uint8Array({ minLength: 9, maxLength: 9 }), fc.nat(71));
  fc.assert(
    fc.property(pair, ([bytes, index]) => {
      const one = ChunkBitmap.fromBytes(bytes, 72);
      const other = one.clone();
      assert.deepEqual([...one.differing(other)], []);
      if (!other.set(index)) other.clear(index);
      assert.deepEqual([...one.differing(other)], [index]);
    }),
  );
  assert.throws(() => [...new ChunkBitmap(8).differing(new ChunkBitmap(9))], RangeError);
});

test('bytes of a wrong length or with bits beyond the end are refused, nothing else is', () => {
  fc.assert(
    fc.property(SIZE, fc.uint8Array({ maxLength: 40 }), (size, bytes) => {
      const right = bytes.length === Math.ceil(size / 8);
      const spare = right && size % 8 !== 0 && (bytes.at(-1) ?? 0) >> (size % 8) !== 0;
      if (right && !spare) {
        assert.deepEqual(ChunkBitmap.fromBytes(bytes, size).toBytes(), Buffer.from(bytes));
      } else {
        assert.throws(() => ChunkBitmap.fromBytes(bytes, size), { code: 'BAD_BITMAP' });
      }
    }),
  );
});

test('indices outside of the blob are never held and cannot be set', () => {
  const bitmap = ChunkBitmap.full(13);
  for (const index of [-1, 13, 15, 2 ** 32, 2 ** 31, Number.NaN]) {
    assert.equal(bitmap.has(index), false);
    assert.throws(() => bitmap.set(index), RangeError);
  }
  assert.throws(() => new ChunkBitmap(16_385), RangeError);
  assert.throws(() => new ChunkBitmap(-1), RangeError);
});

test('a copy does not follow its original', () => {
  const bitmap = new ChunkBitmap(9);
  const copy = bitmap.clone();
  const bytes = bitmap.toBytes();
  bitmap.set(8);
  assert.equal(copy.has(8), false);
  assert.deepEqual(bytes, Buffer.alloc(2));
});
