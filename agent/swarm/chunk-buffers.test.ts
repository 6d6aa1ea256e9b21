import {
  array,
  assert as check,
  boolean,
  infiniteStream,
  integer,
  property as fcProperty,
} from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChunkBuffers, type LentBuffer } from './chunk-buffers.ts';

const MIB = 1024 * 1024;

test('a buffer is lent again once, however often it is disposed of', () => {
  const buffers = new ChunkBuffers();
  const first = buffers.take(MIB - 1);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  first.discard();
  assert.equal(buffers.bytesKept, MIB);
  const [second, third] = [buffers.take(MIB), buffers.take(MIB)];
  assert.equal(second.bytes.buffer, first.bytes.buffer);
  assert.notEqual(third.bytes.buffer, first.bytes.buffer);
  assert.equal(buffers.bytesOut, 2 * MIB);
});

test('a discarded buffer is lent to nobody', () => {
  const buffers = new ChunkBuffers();
  const first = buffers.take(MIB);
  first.discard();
  first[Symbol.dispose]();
  assert.deepEqual([buffers.bytesOut, buffers.bytesKept], [0, 0]);
});

test('kept buffers and those in use share one bound, whatever the sizes', () => {
  const sizes = array(integer({ min: 1, max: 9 }), { maxLength: 40 });
  const property = fcProperty(sizes, infiniteStream(boolean()), (wanted, giveBack) => {
    const max = 8 * MIB;
    const buffers = new ChunkBuffers({ bytes: max });
    const taken: LentBuffer[] = [];
    for (const size of wanted) {
      taken.push(buffers.take(size * MIB));
      if (giveBack.next().value === true) taken.shift()?.[Symbol.dispose]();
      assert.ok(buffers.bytesKept === 0 || buffers.bytesOut + buffers.bytesKept <= max);
      for (const { bytes } of taken) assert.notEqual(bytes.length, 0, 'a buffer in use was freed');
    }
    for (const buffer of taken) buffer[Symbol.dispose]();
    assert.equal(buffers.bytesOut, 0);
    assert.ok(buffers.bytesKept <= max);
  });
  check(property, { numRuns: 50 });
});

test('buffers that nobody took from one rest to the next are let go', () => {
  const buffers = new ChunkBuffers();
  buffers.take(MIB)[Symbol.dispose]();
  buffers.rest();
  assert.equal(buffers.bytesKept, MIB);
  buffers.rest();
  assert.equal(buffers.bytesKept, 0);
});
