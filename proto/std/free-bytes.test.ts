import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freeBytes } from './free-bytes.ts';

test('memory is given back at once, but not that of something larger', () => {
  const whole = Buffer.alloc(64 * 1024, 1);
  const part = whole.subarray(0, 10);
  freeBytes(part);
  assert.equal(part.length, 10);
  freeBytes(whole);
  assert.equal(whole.length, 0);
  freeBytes(whole);
});
