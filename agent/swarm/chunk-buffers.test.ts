import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChunkBuffers } from './chunk-buffers.ts';

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

test('what is kept is bounded in bytes, whatever the sizes', () => {
  const buffers = new ChunkBuffers({ keptBytes: 4 * MIB });
  const taken = [1, 2, 3, 2, 1, 5].map((size) => buffers.take(size * MIB));
  for (const buffer of taken) buffer[Symbol.dispose]();
  assert.ok(buffers.bytesKept <= 4 * MIB);
  assert.equal(buffers.bytesOut, 0);
});

test('buffers that nobody took from one rest to the next are let go', () => {
  const buffers = new ChunkBuffers();
  buffers.take(MIB)[Symbol.dispose]();
  buffers.rest();
  assert.equal(buffers.bytesKept, MIB);
  buffers.rest();
  assert.equal(buffers.bytesKept, 0);
});
