import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { MaxMin } from './max-min.ts';

type Flow = [up: number, down: number, trunk?: number];

function ratesOf(capacity: number[], flows: Flow[]): number[] {
  const paths = {
    up: Int32Array.from(flows, ([up]) => up),
    down: Int32Array.from(flows, ([, down]) => down),
    trunk: Int32Array.from(flows, ([, , trunk]) => trunk ?? -1),
  };
  const rates = new Float64Array(flows.length);
  const filling = new MaxMin(Float64Array.from(capacity), paths);
  filling.fill(
    Int32Array.from(flows, (_, at) => at),
    flows.length,
    rates,
  );
  return [...rates].map((rate) => Math.round(rate * 1e6) / 1e6);
}

describe('max-min fair sharing', () => {
  it('halves an uplink between two flows', () => {
    assert.deepEqual(
      ratesOf(
        [10, 10, 10],
        [
          [0, 1],
          [0, 2],
        ],
      ),
      [5, 5],
    );
  });

  it('gives what a narrow downlink leaves to the other flow', () => {
    assert.deepEqual(
      ratesOf(
        [10, 2, 10],
        [
          [0, 1],
          [0, 2],
        ],
      ),
      [2, 8],
    );
  });

  it('fills in three steps where each step needs the one before', () => {
    // Uplink 0 feeds three flows, one of which shares downlink 4 with a flow of uplink 1.
    const flows: Flow[] = [
      [0, 2],
      [0, 3],
      [0, 4],
      [1, 4],
    ];
    assert.deepEqual(ratesOf([9, 20, 1, 10, 6], flows), [1, 5, 3, 3]);
  });

  it('counts a trunk as one more bottleneck', () => {
    const flows: Flow[] = [
      [0, 2, 4],
      [1, 3, 4],
      [1, 3],
    ];
    assert.deepEqual(ratesOf([10, 10, 10, 10, 4], flows), [2, 2, 8]);
  });

  it('exceeds no capacity and leaves no flow that could have more', () => {
    const world = fc.record({
      capacity: fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 12, maxLength: 12 }),
      flows: fc.array(fc.tuple(fc.nat(4), fc.integer({ min: 5, max: 9 }), fc.nat(2)), {
        minLength: 1,
        maxLength: 40,
      }),
    });
    fc.assert(
      fc.property(world, ({ capacity, flows }) => {
        const paths = flows.map(([up, down, t]): Flow =>
          t === 2 ? [up, down] : [up, down, 10 + t],
        );
        const rates = ratesOf(capacity, paths);
        const used = capacity.map((_, resource) =>
          paths.reduce((sum, p, at) => sum + (p.includes(resource) ? (rates[at] ?? 0) : 0), 0),
        );
        for (const [at, load] of used.entries()) assert.ok(load <= (capacity[at] ?? 0) + 1e-3);
        for (const [at, path] of paths.entries()) {
          // The definition: some resource of it is full, and nobody there has more than it.
          const blocked = path.some((resource = -1) => {
            const full = (used[resource] ?? 0) >= (capacity[resource] ?? 0) - 1e-3;
            const most = paths.every(
              (p, other) => !p.includes(resource) || (rates[other] ?? 0) <= (rates[at] ?? 0) + 1e-3,
            );
            return full && most;
          });
          assert.ok(blocked, `flow ${at} could have more than ${rates[at]}`);
        }
      }),
      { numRuns: 300 },
    );
  });
});
