import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figuresOf, renderFigures } from './figures.ts';

const MIB = 1024 ** 2;
const BESIDE = {
  hubRssBytesBy: { start: 90 * MIB, manifestGet: 200 * MIB, tagList: 150 * MIB },
  sha256CpuPerGB: [0.9, 0.5, 0.6],
};

test('ratios are the hub’s median to the other’s', () => {
  const figures = figuresOf(
    { us: { manifestGet: [900, 100, 600] }, other: { manifestGet: [100, 90, 5000] } },
    BESIDE,
  );
  assert.equal(figures.manifestGet, 6);
  assert.deepEqual(figures.us, { manifestGet: 600 });
  assert.deepEqual(figures.other, { manifestGet: 100 });
});

test('the CPU of a push is held against 1.15 of the other’s and one SHA-256', () => {
  const cpu = { us: { push1GiBCpuPerGB: [3.5] }, other: { push1GiBCpuPerGB: [2] } };
  const figures = figuresOf(cpu, BESIDE);
  assert.equal(figures.push1GiBCpuPerGB, 1.75);
  assert.equal(figures.sha256CpuPerGB, 0.6);
  assert.ok(Math.abs((figures.push1GiBCpuToTarget ?? 0) - 3.5 / 2.9) < 1e-9);
});

test('one repository is held against many at the hub alone', () => {
  const us = { smallPushesSpread: [200], smallPushesOneRepo: [150] };
  assert.equal(figuresOf({ us, other: {} }, BESIDE).oneRepoToSpread, 0.75);
});

test('what was measured of one registry alone has no ratio', () => {
  const figures = figuresOf({ us: { push1GiBCpuPerGB: [3] }, other: {} }, BESIDE);
  assert.equal('push1GiBCpuPerGB' in figures, false);
  assert.equal('push1GiBCpuToTarget' in figures, false);
  assert.match(renderFigures(figures), /3\.00\s+-\s+-\s+-\s+CPU seconds per GB pushed/);
});

test('the memory of the hub is the most of all its work', () => {
  const figures = figuresOf({ us: {}, other: {} }, BESIDE);
  assert.equal(figures.hubRssBytes, 200 * MIB);
  assert.match(renderFigures(figures), /highest resident memory of the hub: 200 MiB/);
});
