import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { LANE_RETRY_MIN_MS } from './constants.ts';
import { fleetWithBlob, lanes, moveLane, portOf, signal, untilLanes } from './test-lane.ts';

const HALF_HOUR_MS = 1_800_000;

/** Two nodes; what answers at the lane of one cuts each connection. */
async function withoutLane() {
  const { fleet, server, client, blob, ask } = await fleetWithBlob();
  const cutting = createServer((socket) => socket.destroy());
  cutting.listen(0, '127.0.0.1');
  await once(cutting, 'listening');
  moveLane(fleet, { server, client }, portOf(cutting));
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  const fetch = async (): Promise<void> => {
    using chunk = await client.swarm.transport.fetchChunk(link.peerId, ask(0), signal());
    assert.equal(chunk.bytes.length, ask(0).length);
  };
  const end = async (): Promise<void> => {
    await fleet[Symbol.asyncDispose]();
    cutting.close();
  };
  return { client, fetch, [Symbol.asyncDispose]: end };
}

test('a peer without a lane is tried again soon, then less and less often', async () => {
  await using rig = await withoutLane();
  const { client, fetch } = rig;
  await fetch();
  await untilLanes(client, 'failed', 1);
  for (const [waitMs, failures] of [
    [LANE_RETRY_MIN_MS - 1, 1],
    [1, 2],
    [LANE_RETRY_MIN_MS * 2 - 1, 2],
    [1, 3],
  ] as const) {
    client.clock.nowMs += waitMs;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await fetch();
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await untilLanes(client, 'failed', failures);
  }
  assert.equal(await lanes(client, 'failed'), 3);
});

test('a clock that is set back makes no pause between lanes longer', async () => {
  await using rig = await withoutLane();
  const { client, fetch } = rig;
  await fetch();
  await untilLanes(client, 'failed', 1);
  client.clock.steadyMs = client.clock.nowMs + LANE_RETRY_MIN_MS;
  client.clock.nowMs -= HALF_HOUR_MS;
  await fetch();
  await untilLanes(client, 'failed', 2);
});
