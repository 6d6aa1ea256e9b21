import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { BodyBuffers, type BodyRoom } from './body-buffers.ts';
import {
  BODY_BUFFERS,
  BODY_BUFFERS_MAX_BYTES,
  BODY_BUFFER_BYTES,
  BODY_BUFFER_SMALL_BYTES,
  REQUESTS_MAX,
} from './constants.ts';

const MIB = 1024 * 1024;

test('however many read, and however slowly, their buffers are bounded', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 8 * MIB }), { minLength: 1, maxLength: 200 });
  const property = fc.property(sizes, fc.infiniteStream(fc.boolean()), (bodies, ends) => {
    const buffers = new BodyBuffers({ maxBytes: 20 * MIB });
    const open: BodyRoom[] = [];
    for (const bytes of bodies) {
      const room = buffers.take(bytes);
      open.push(room);
      assert.ok(room.size * room.count >= Math.min(bytes, BODY_BUFFER_SMALL_BYTES));
      const large = open.filter(({ size }) => size > BODY_BUFFER_SMALL_BYTES);
      const sum = large.reduce((all, { size, count }) => all + size * count, 0);
      assert.equal(sum, buffers.used);
      assert.ok(sum <= 20 * MIB);
      if (ends.next().value === true) open.shift()?.[Symbol.dispose]();
    }
    for (const room of open) room[Symbol.dispose]();
    assert.equal(buffers.used, 0);
  });
  fc.assert(property);
});

test('all requests at once with small buffers hold less than half a gigabyte', () => {
  const most = BODY_BUFFERS_MAX_BYTES + REQUESTS_MAX * BODY_BUFFERS * BODY_BUFFER_SMALL_BYTES;
  assert.ok(most <= 512 * MIB, String(most));
});

test('a body that fits into one buffer holds one, and one that ends twice ends once', () => {
  const buffers = new BodyBuffers();
  const room = buffers.take(BODY_BUFFER_BYTES);
  assert.deepEqual(
    [room.size, room.count, buffers.used],
    [BODY_BUFFER_BYTES, 1, BODY_BUFFER_BYTES],
  );
  room[Symbol.dispose]();
  room[Symbol.dispose]();
  assert.equal(buffers.used, 0);
});
