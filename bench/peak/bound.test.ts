import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { boundSeconds, clientBoundSeconds, farNodes, fluidBound } from './bound.ts';
import { parsePeakOptions } from './options.ts';
import type { PeakOptions } from './options.ts';

const GBIT = 1e9 / 8;
const GB = 1e9;

function optionsOf(...args: string[]): PeakOptions {
  const options = parsePeakOptions(args);
  if (options === 'help') throw new Error('help was asked for');
  return options;
}

test('the bound is what the slowest of hub, node and swarm needs', () => {
  const equal = { hubBytesPerSecond: 10 * GBIT, nodeBytesPerSecond: 10 * GBIT };
  assert.equal(fluidBound(10 * GB, equal, { nodes: 500 }), 8);
  const slowHub = { hubBytesPerSecond: GBIT, nodeBytesPerSecond: 10 * GBIT };
  assert.equal(fluidBound(10 * GB, slowHub, { nodes: 500 }), 80);
  const slowNodes = { hubBytesPerSecond: 10 * GBIT, nodeBytesPerSecond: 2 * GBIT };
  assert.equal(fluidBound(10 * GB, slowNodes, { nodes: 500 }), 40);
  const trunk = { ...equal, trunkBytesPerSecond: GBIT };
  assert.equal(fluidBound(10 * GB, trunk, { nodes: 500 }), 80);
});

test('nodes that have the bytes already spare the hub its copy, but never one own link', () => {
  const links = { hubBytesPerSecond: GBIT, nodeBytesPerSecond: 10 * GBIT };
  assert.equal(fluidBound(10 * GB, links, { nodes: 1, helpers: 9 }), 8);
});

test('more nodes never lower the bound, and it is never below one transfer', () => {
  const rate = fc.integer({ min: 1, max: 1e10 });
  const nodes = fc.integer({ min: 1, max: 10_000 });
  fc.assert(
    fc.property(rate, rate, fc.integer({ min: 1, max: 1e12 }), nodes, (hub, node, bytes, count) => {
      const links = { hubBytesPerSecond: hub, nodeBytesPerSecond: node };
      const bound = fluidBound(bytes, links, { nodes: count });
      assert.ok(bound >= bytes / node && bound >= bytes / hub);
      assert.ok(fluidBound(bytes, links, { nodes: count + 1 }) >= bound);
    }),
  );
});

test('ways of arriving that take longer have later bounds, each client its own', () => {
  const bytes = 125e6;
  const base = ['--agents', '10', '--rate', '100Mbit'];
  assert.equal(boundSeconds(optionsOf(...base), bytes), 10);
  const ramp = optionsOf(...base, '--arrivals', 'ramp');
  assert.equal(boundSeconds(ramp, bytes), 20);
  assert.equal(clientBoundSeconds(ramp, bytes, 'n1'), 10);
  const rolling = optionsOf(...base, '--arrivals', 'rolling');
  assert.equal(boundSeconds(rolling, bytes), 50);
  assert.equal(clientBoundSeconds(rolling, bytes, 'n1'), 10);
});

test('a slow line holds up those behind it, and of a rolling update the first of them', () => {
  const bytes = 125e6;
  const base = ['--agents', '10', '--rate', '100Mbit', '--fail', 'zone'];
  const all = optionsOf(...base);
  assert.deepEqual(farNodes(all), ['n6', 'n7', 'n8', 'n9', 'n10']);
  assert.equal(boundSeconds(all, bytes), 20);
  assert.equal(clientBoundSeconds(all, bytes, 'n10'), 20);
  assert.equal(clientBoundSeconds(all, bytes, 'n1'), 10);
  assert.equal(boundSeconds(optionsOf(...base, '--arrivals', 'rolling'), bytes), 50);
});
