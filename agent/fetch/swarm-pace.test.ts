import assert from 'node:assert/strict';
import { it } from 'node:test';
import { BYPASS_WARMUP_MS, BYPASS_WINDOW_MS, HUB_SHARE_MS } from './constants.ts';
import { SwarmPace } from './swarm-pace.ts';

const hubInflightMax = 4;

it('asks a hub that many share for one chunk at a time, and a quick one for several', () => {
  const pace = new SwarmPace({ startMs: 0, hubInflightMax });
  assert.equal(pace.hubShare, 1);
  pace.landedFromHub(HUB_SHARE_MS / 100);
  assert.equal(pace.hubShare, hubInflightMax);
  for (let chunk = 0; chunk < 50; chunk += 1) pace.landedFromHub(HUB_SHARE_MS * 2);
  assert.equal(pace.hubShare, 1);
});

function isPoor(hubTookMs: number): boolean {
  const pace = new SwarmPace({ startMs: 0, hubInflightMax });
  pace.landedFromHub(hubTookMs);
  const endMs = BYPASS_WARMUP_MS + BYPASS_WINDOW_MS;
  for (let nowMs = 0; nowMs < endMs; nowMs += HUB_SHARE_MS) pace.landed(nowMs);
  return pace.isPoor(endMs);
}

it('does not take peers for poor beside a hub that would be no faster', () => {
  assert.equal(isPoor(HUB_SHARE_MS), false);
  assert.equal(isPoor(HUB_SHARE_MS / 10), true);
});
