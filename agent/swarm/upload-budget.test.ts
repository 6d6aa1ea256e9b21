import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RateBudget } from '../../proto/std/rate-budget.ts';
import { code, TestFleet } from './test-fleet.ts';
import { MIB, signal, untilLanes } from './lane/test-lane.ts';

for (const lane of [true, false]) {
  const way = lane ? 'a lane' : 'a stream';
  test(`what leaves over ${way} is taken out of the upload budget`, async () => {
    const clock = { nowMs: 0 };
    const rate = new RateBudget({ bytesPerSecond: 16 * MIB, now: () => clock.nowMs });
    await using fleet = new TestFleet();
    const { server, client } = await fleet.pair({ lane, uploadRate: rate });
    const blob = fleet.blob(6 * MIB);
    server.content.add(blob);
    const link = await client.swarm.link(server.membership, signal());
    assert.ok(await link.openGrant(fleet.grant([blob.digest]), signal()));
    const fetch = async (index: number): Promise<void> => {
      const { peerId } = server.identity;
      const request = { digest: blob.digest, index, length: MIB };
      using chunk = await client.swarm.transport.fetchChunk(peerId, request, signal());
      assert.ok(chunk.bytes.equals(blob.bytes.subarray(index * MIB, (index + 1) * MIB)));
    };
    if (lane) {
      const first = fetch(0);
      await untilLanes(client, 'opened');
      await first;
    } else await fetch(0);
    await fetch(1);
    assert.equal(rate.taken, 2 * MIB);
    // Somebody has taken all of the next ten seconds.
    rate.take(160 * MIB);
    await assert.rejects(fetch(2), code('BUSY'));
    assert.equal(rate.taken, 162 * MIB);
    clock.nowMs += 20_000;
    await fetch(2);
    assert.equal(rate.taken, 163 * MIB);
  });
}
