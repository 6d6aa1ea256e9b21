import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PART_BUFFER_WAIT_MS, PART_BUFFERS_BYTES } from './constants.ts';
import { PartBuffers } from './part-buffers.ts';

const PART = 8 * 1024 * 1024;

test('memory beyond the bound is waited for, in order, and given again', async () => {
  const buffers = new PartBuffers();
  const taken = await Promise.all(
    Array.from({ length: PART_BUFFERS_BYTES / PART }, () => buffers.take(PART)),
  );
  const order: string[] = [];
  const waiting = ['first', 'second'].map(async (name) => {
    const buffer = await buffers.take(PART);
    order.push(name);
    return buffer;
  });
  assert.equal(new Set(taken.map(({ bytes }) => bytes)).size, taken.length);
  taken[0]?.[Symbol.dispose]();
  taken[0]?.[Symbol.dispose]();
  const first = await waiting[0];
  assert.deepEqual(order, ['first'], 'what is given back twice is given once');
  assert.equal(first?.bytes.length, PART);
  first?.[Symbol.dispose]();
  await waiting[1];
  assert.deepEqual(order, ['first', 'second']);
});

test('one who waits too long for memory is told to come back', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const buffers = new PartBuffers();
  using all = await buffers.take(PART_BUFFERS_BYTES);
  const refused = assert.rejects(buffers.take(PART), { code: 'STORE_AWAY' });
  t.mock.timers.tick(PART_BUFFER_WAIT_MS);
  await refused;
  all[Symbol.dispose]();
  using next = await buffers.take(PART);
  assert.equal(next.bytes.length, PART);
});
