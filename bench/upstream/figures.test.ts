import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figuresOf, renderFigures } from './figures.ts';

const UPSTREAM = {
  sentBytes: 1050,
  pulledBytes: 1000,
  countedPulls: 6,
  manifests: 6,
  warmRequests: 0,
};
const pull = (totalMs: number, firstByteMs: number, firstChunkMs: number) => {
  return { totalMs, firstByteMs, firstChunkMs };
};

test('each ratio is one of medians, whatever a single round says', () => {
  const figures = figuresOf(
    {
      straight: [pull(1000, 40, 100), pull(900, 50, 80), pull(9000, 60, 120)],
      cold: [pull(1100, 105, 110), pull(1100, 90, 95), pull(1, 300, 400)],
      warm: [pull(100, 5, 6), pull(110, 4, 5), pull(90, 400, 500)],
    },
    UPSTREAM,
  );
  assert.equal(figures.coldRatio, 1.1);
  assert.equal(figures.coldFirstByteToOneChunk, 1.05);
  assert.equal(figures.warmFirstByteRatio, 0.1);
});

test('what the upstream sent and counted is held against what was pulled', () => {
  const samples = { straight: [pull(1, 1, 1)], cold: [pull(1, 1, 1)], warm: [pull(1, 1, 1)] };
  const figures = figuresOf(samples, { ...UPSTREAM, warmRequests: 3 });
  assert.equal(figures.upstreamCopies, 1.05);
  assert.equal(figures.upstreamCountedPulls, 1);
  assert.match(renderFigures(figures), /1\.050 {2}copies[^]*3 {2}requests/);
});
