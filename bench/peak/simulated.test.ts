import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePeakOptions } from './options.ts';
import type { PeakOptions } from './options.ts';
import { compare, renderComparison, scenarioOf } from './simulated.ts';

const MIB = 1024 ** 2;

function optionsOf(...args: string[]): PeakOptions {
  const options = parsePeakOptions(args);
  if (options === 'help') throw new Error('asked for help');
  return options;
}

const SMALL = optionsOf('--agents', '4', '--rate', '40Mbit');
const RUN = { imageBytes: 16 * MIB, goodputRatio: 0.96 };

test('a peak of all at once is simulated with its own nodes, size and rates', () => {
  const scenario = scenarioOf(SMALL, RUN);
  assert.equal(scenario?.nodes, 4);
  assert.equal(scenario.sizeBytes, 16 * MIB);
  assert.equal(Math.round(scenario.nodeBitsPerSecond), 38_400_000);
});

test('a slow line between zones is simulated with its rate', () => {
  const scenario = scenarioOf(optionsOf('--rate', '40Mbit', '--fail', 'zone'), RUN);
  assert.equal(scenario?.zones, 2);
  assert.equal(Math.round(scenario.trunkBitsPerSecond), 19_200_000);
});

test('what the simulator does not know is not compared', () => {
  assert.equal(scenarioOf(optionsOf('--fail', 'busiest'), RUN), undefined);
  assert.equal(scenarioOf(optionsOf('--arrivals', 'ramp'), RUN), undefined);
  assert.match(renderComparison(undefined, 0.5).join(' '), /nothing to compare/);
});

test('the same seed gives the same comparison, no faster than the links allow', () => {
  const scenario = scenarioOf(SMALL, RUN);
  assert.ok(scenario);
  const first = compare(scenario, 10, 1);
  assert.deepEqual(compare(scenario, 10, 1), first);
  assert.ok(first.simulatedSeconds >= (16 * MIB * 8) / 38_400_000);
  assert.ok(Math.abs(first.apart - (10 / first.simulatedSeconds - 1)) < 1e-9);
});

test('a run on a full machine is not held against the simulator', () => {
  const comparison = { simulatedSeconds: 10, apart: 0.5 };
  assert.match(renderComparison(comparison, 0.1).join(' '), /says nothing/);
  assert.match(renderComparison(comparison, 0.6).join(' '), /50\.0 % slower.*the aim is 15 %/);
  assert.match(renderComparison({ ...comparison, apart: -0.1 }, 0.6).join(' '), /faster.*within/);
});
