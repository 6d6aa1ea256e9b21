import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { LANE_RETRY_MIN_MS } from './constants.ts';
import { fleetWithBlob, lanes, moveLane, portOf, signal, untilLanes } from './test-lane.ts';

test('a peer without a lane is tried again soon, then less and less often', async () => {
  const { fleet, server, client, blob, ask } = await fleetWithBlob();
  await using _ = fleet;
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
  cutting.close();
});
