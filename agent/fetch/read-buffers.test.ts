import assert from 'node:assert/strict';
import { test } from 'node:test';
import { READ_BUFFERS_IDLE_MS } from './constants.ts';
import { ReadBuffers } from './read-buffers.ts';

function lendAndReturn(buffers: ReadBuffers): Buffer {
  using lent = buffers.lend();
  lent.finished();
  return lent.buffer;
}

test('a buffer is lent again, and given back when no reader came for a while', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const buffers = new ReadBuffers();
  const first = lendAndReturn(buffers);
  t.mock.timers.tick(READ_BUFFERS_IDLE_MS - 1);
  assert.equal(lendAndReturn(buffers), first);
  t.mock.timers.tick(READ_BUFFERS_IDLE_MS - 1);
  assert.ok(first.length > 0, 'it was used meanwhile');
  t.mock.timers.tick(1);
  assert.equal(first.length, 0);
  assert.notEqual(lendAndReturn(buffers), first);
});

test('a buffer that is lent is not given back', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const buffers = new ReadBuffers();
  const first = lendAndReturn(buffers);
  using lent = buffers.lend();
  assert.equal(lent.buffer, first);
  t.mock.timers.tick(READ_BUFFERS_IDLE_MS);
  assert.ok(first.length > 0);
});
