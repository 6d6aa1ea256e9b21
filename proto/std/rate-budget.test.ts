import assert from 'node:assert/strict';
import { it } from 'node:test';
import * as fc from 'fast-check';
import { RateBudget } from './rate-budget.ts';

const RATE = 1000;
const steps = fc.array(
  fc.record({ bytes: fc.integer({ min: 1, max: 900 }), passMs: fc.nat(1500) }),
  { minLength: 1, maxLength: 50 },
);

it('lets through no more than its rate and a short burst, and all of that', () => {
  fc.assert(
    fc.property(steps, (asks) => {
      let nowMs = 0;
      let allBytes = 0;
      let endMs = 0;
      const budget = new RateBudget({ bytesPerSecond: RATE, now: () => nowMs });
      for (const { bytes, passMs } of asks) {
        const startMs = Math.max(nowMs, endMs);
        endMs = nowMs + (budget.take(bytes) ?? Number.NaN);
        allBytes += bytes;
        assert.ok(allBytes <= ((endMs + 250) / 1000) * RATE + 1e-6, 'faster than its rate');
        assert.ok(endMs <= startMs + (bytes / RATE) * 1000 + 1e-6, 'waits for nothing');
        nowMs += passMs;
      }
    }),
  );
});

it('takes nothing when the wait would be too long', () => {
  const budget = new RateBudget({ bytesPerSecond: RATE, now: () => 0 });
  assert.equal(budget.take(1000), 750);
  assert.equal(budget.take(1000, 1000), undefined);
  assert.equal(budget.take(250, 1000), 1000);
});
