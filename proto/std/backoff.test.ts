import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { backoffMs } from './backoff.ts';

test('waits grow with each attempt, spread down to nothing, and stay below their bound', () => {
  const most = { baseMs: 100, maxMs: 5000, random: () => 0.999_999 };
  assert.deepEqual(
    [0, 1, 2, 3].map((attempt) => backoffMs(attempt, most)),
    [99, 199, 399, 799],
  );
  fc.assert(
    fc.property(fc.nat(5000), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, chance) => {
      const ms = backoffMs(attempt, { ...most, random: () => chance });
      assert.ok(Number.isInteger(ms) && ms >= 0 && ms <= 5000);
    }),
  );
});
