import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BufferMemory, freeBytes } from './buffer-memory.ts';

const OPTIONS = { totalBytes: 1024, minBytes: 64, maxBytes: 512 };

test('bodies share the memory evenly, rounded down, within the bounds for each', () => {
  const memory = new BufferMemory(OPTIONS);
  const first = memory.enter();
  const shares = [first.share];
  for (let open = 2; open <= 32; open += 1) {
    const { share } = memory.enter();
    assert.equal(first.share, share);
    shares[open] = share;
  }
  assert.deepEqual(
    [2, 3, 4, 5, 8, 9, 16, 17, 32].map((open) => shares[open]),
    [512, 256, 256, 128, 128, 64, 64, 64, 64],
  );
  assert.equal(shares[0], 512);
});

test('a body that has ended leaves its share to the others, once', () => {
  const memory = new BufferMemory(OPTIONS);
  const place = memory.enter();
  const others = Array.from({ length: 3 }, () => memory.enter());
  others[0]?.[Symbol.dispose]();
  others[0]?.[Symbol.dispose]();
  assert.equal(place.share, 256);
  others[1]?.[Symbol.dispose]();
  assert.equal(place.share, 512);
});

test('memory is given back at once, but not that of something larger', () => {
  const whole = Buffer.alloc(64 * 1024, 1);
  const part = whole.subarray(0, 10);
  freeBytes(part);
  assert.equal(part.length, 10);
  freeBytes(whole);
  assert.equal(whole.length, 0);
  freeBytes(whole);
});
