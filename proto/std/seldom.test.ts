import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Seldom } from './seldom.ts';

test('the first is told at once, the others with the first after a while', () => {
  const clock = { nowMs: 5 };
  const seldom = new Seldom({ everyMs: 100, now: () => clock.nowMs });
  assert.equal(seldom.add(), 1);
  for (let n = 0; n < 7; n += 1) assert.equal(seldom.add(), undefined);
  clock.nowMs += 100;
  assert.equal(seldom.add(), 8);
  assert.equal(seldom.add(), undefined);
});
