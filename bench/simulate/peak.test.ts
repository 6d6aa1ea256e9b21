import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Peak } from './peak.ts';
import { figuresOf, worstOf } from './report.ts';
import type { PeakFigures } from './report.ts';
import { PEAK, boundSeconds } from './scenario.ts';
import type { Scenario } from './scenario.ts';

const MIB = 1024 ** 2;
const SMALL: Scenario = { ...PEAK, nodes: 16, sizeBytes: 256 * MIB };

function figures(changes: Partial<Scenario>, seed: number): PeakFigures {
  const scenario = { ...SMALL, ...changes };
  return figuresOf(scenario, new Peak(scenario, seed).run());
}

describe('a simulated load peak', () => {
  it('is the same again with the same seed, and another one with another seed', () => {
    const first = new Peak(SMALL, 5).run();
    assert.deepEqual(new Peak(SMALL, 5).run(), first);
    assert.notDeepEqual(new Peak(SMALL, 6).run().durations, first.durations);
  });

  it('takes about one copy from the hub and hardly repeats anything', () => {
    for (const seed of [1, 2, 3]) {
      const { copies, duplicateRatio } = figures({ arrivalsMs: 0, churn: 0 }, seed);
      assert.ok(copies <= 1.2, `${copies} copies`);
      assert.ok(duplicateRatio <= 0.02, `${duplicateRatio} repeated`);
    }
  });

  it('is never faster than the bound', () => {
    for (const nodes of [1, 4, 16]) {
      const { efficiency, efficiencyP50 } = figures({ nodes, churn: 0 }, 2);
      assert.ok(efficiency <= efficiencyP50 && efficiencyP50 <= 1, `${efficiencyP50}`);
    }
  });

  it('ends for every node that lives when many vanish, silently or not', () => {
    for (const silentCrashes of [0, 1]) {
      const scenario = { ...SMALL, churn: 0.5, silentCrashes, arrivalsMs: 1000 };
      const { durations, usefulBytes } = new Peak(scenario, 9).run();
      assert.ok(durations.length >= scenario.nodes, 'those that vanish are replaced');
      assert.ok(usefulBytes >= durations.length * scenario.sizeBytes);
    }
  });

  it('sends each chunk about once over a slow line between zones', () => {
    const links = { nodeBitsPerSecond: 1e8, hubBitsPerSecond: 1e8, trunkBitsPerSecond: 5e7 };
    const apart = { ...SMALL, ...links, zones: 2, arrivalsMs: 0, churn: 0 };
    for (const seed of [1, 2]) {
      const { acrossBytes, lastMs, receivedBytes, usefulBytes } = new Peak(apart, seed).run();
      // One copy into the other zone, and out of it what the hub gave there.
      assert.ok(acrossBytes / apart.sizeBytes <= 1.5, `${acrossBytes / apart.sizeBytes} copies`);
      assert.ok(receivedBytes / usefulBytes <= 1.02);
      const boundMs = (apart.sizeBytes * 8_000) / apart.trunkBitsPerSecond;
      assert.ok(boundMs / lastMs >= 0.85, `${boundMs / lastMs} of the bound`);
    }
  });

  it('ends without a tracker, from the hub alone', () => {
    const { copies } = figures({ nodes: 4, tracker: false, churn: 0 }, 1);
    assert.ok(copies > 3.99 && copies < 4.1, `${copies} copies`);
  });
});

describe('the report of a load peak', () => {
  it('measures nodes against the bound, and quantiles from the fastest on', () => {
    const durations = Float64Array.from({ length: 100 }, (_, at) => (at + 1) * 1000);
    const rest = { arrivals: durations, lastMs: 100_000, acrossBytes: 0, events: 0 };
    const bytes = { hubBytes: 256 * MIB, receivedBytes: 102, usefulBytes: 100, sentBytes: 102 };
    const found = figuresOf({ ...SMALL, nodes: 100 }, { durations, ...rest, ...bytes });
    const bound = boundSeconds({ ...SMALL, nodes: 100 });
    const { efficiencyP50, efficiencyP99, efficiency } = found;
    const seconds = [efficiencyP50, efficiencyP99, efficiency].map((part) => bound / part);
    assert.deepEqual(seconds.map(Math.round), [50, 99, 100]);
    assert.equal(found.copies, 1);
    assert.equal(found.duplicateRatio, 0.02);
  });

  it('keeps the worst of each figure over the seeds', () => {
    const one = figures({ nodes: 4 }, 1);
    const other = { ...one, efficiencyP99: one.efficiencyP99 / 2, copies: one.copies + 1 };
    const { efficiencyP99, copies, efficiencyP50 } = worstOf([one, other]);
    assert.deepEqual(
      [efficiencyP99, copies, efficiencyP50],
      [one.efficiencyP99 / 2, one.copies + 1, one.efficiencyP50],
    );
  });
});
