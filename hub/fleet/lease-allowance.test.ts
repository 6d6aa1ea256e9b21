import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { BlobSwarm } from './blob-swarm.ts';
import { LEASES_PER_MEMBER_MIN, LEASE_MS } from './constants.ts';
import { LeasePace } from './lease-pace.ts';

const LAYOUT = layoutOf(256 * 1024 ** 2);

function swarmOf(...peerIds: string[]): BlobSwarm {
  const swarm = new BlobSwarm(LAYOUT, new LeasePace());
  for (const peerId of peerIds) swarm.join(peerId);
  return swarm;
}

/** Brings all leases in after `tookMs`, several times; returns how many are leased after that. */
function leasedAfter(rounds: number, tookMs: number): number {
  const swarm = swarmOf('a');
  const have = new ChunkBitmap(LAYOUT.chunkCount);
  let nowMs = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const index of swarm.lease('a', 64, { nowMs })) have.set(index);
    nowMs += tookMs;
    swarm.report('a', { have: have.clone(), nowMs });
  }
  return swarm.lease('a', 64, { nowMs }).length;
}

test('the first to ask leaves leases to the others', () => {
  const swarm = swarmOf('first');
  const asked = swarm.lease('first', 64, { nowMs: 0 }).length;
  const again = swarm.lease('first', 64, { nowMs: 100 }).length;
  assert.equal(asked, LEASES_PER_MEMBER_MIN);
  assert.equal(again, 0);
});

test('a member that brings its leases in quickly gets more, a slow one does not', () => {
  assert.ok(leasedAfter(3, 100) >= 4 * LEASES_PER_MEMBER_MIN);
  assert.equal(leasedAfter(3, LEASE_MS - 1), LEASES_PER_MEMBER_MIN);
});

test('a member whose leases end in nothing is back at the least', () => {
  const swarm = swarmOf('a');
  const have = new ChunkBitmap(LAYOUT.chunkCount);
  for (const index of swarm.lease('a', 64, { nowMs: 0 })) have.set(index);
  swarm.report('a', { have, nowMs: 100 });
  const more = swarm.lease('a', 64, { nowMs: 100 }).length;
  assert.equal(more, 2 * LEASES_PER_MEMBER_MIN);
  swarm.expire(100 + LEASE_MS);
  const after = swarm.lease('a', 64, { nowMs: 100 + LEASE_MS }).length;
  assert.equal(after, LEASES_PER_MEMBER_MIN);
});
