import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ChunkTable } from './chunk-table.ts';
import { PEER_INFLIGHT_MAX } from './constants.ts';
import { PlannerPeers } from './planner-peers.ts';

const nothing = { size: 8, has: () => false };

it('has peers with a queue asked last, and lets chance decide among the others', () => {
  const peers = new PlannerPeers(new ChunkTable(8, nothing, nothing), Math.random);
  for (const id of ['slow', 'quick', 'new', 'slower']) peers.up(id, true, 0);
  const took = { slow: 250, quick: 90, slower: 450 };
  for (const [id, ms] of Object.entries(took)) {
    peers.get(id)?.pace.chunk(ms, ms, PEER_INFLIGHT_MAX);
  }
  const orders = Array.from({ length: 100 }, () =>
    peers.bySpeed(100, () => true).map(({ id }) => id),
  );
  assert.ok(orders.every((order) => order.slice(2).join() === 'slow,slower'));
  assert.equal(new Set(orders.map((order) => order[0])).size, 2);
});
