import assert from 'node:assert/strict';
import { it } from 'node:test';
import * as fc from 'fast-check';
import { SOURCE_BUDGET_BURST_MS } from './constants.ts';
import { SourceBudget } from './source-budget.ts';

const MIB = 1024 ** 2;
const asks = fc.array(
  fc.record({ wanted: fc.nat(20), waitMs: fc.nat(900), chunkMib: fc.constantFrom(1, 4) }),
  { maxLength: 60 },
);

it('hands out no more than its rate and one burst over any time', () => {
  fc.assert(
    fc.property(asks, fc.constantFrom(4, 50), (steps, rate) => {
      const budget = new SourceBudget({ bytesPerSecond: rate * MIB });
      const limit = (ms: number): number => rate * ((ms + SOURCE_BUDGET_BURST_MS) / 1000) + 4;
      let nowMs = 0;
      let mib = 0;
      for (const { wanted, waitMs, chunkMib } of steps) {
        nowMs += waitMs;
        const got = budget.take(wanted, chunkMib * MIB, nowMs);
        assert.ok(got <= wanted);
        mib += got * chunkMib;
        assert.ok(mib <= limit(nowMs), `${mib} MiB in ${nowMs} ms`);
      }
    }),
  );
});

it('has something for everybody in time, also for chunks larger than its burst', () => {
  const budget = new SourceBudget({ bytesPerSecond: 1000 });
  let nowMs = 0;
  const got: number[] = [];
  for (; got.length < 5; nowMs += 60_000) {
    if (budget.take(3, 256_000, nowMs) > 0) got.push(nowMs);
    assert.ok(nowMs < 3_600_000, 'never enough for one chunk');
  }
});

it('fills at the rate of its share from when it is told', () => {
  const budget = new SourceBudget({ bytesPerSecond: 100 * 1000 });
  const burst = budget.take(1_000_000, 1, 0);
  budget.bytesPerSecond = 50 * 1000;
  assert.equal(budget.take(1_000_000, 1, 1000), 50 * 1000);
  assert.equal(budget.take(1_000_000, 1, 3_600_000), burst / 2);
});
