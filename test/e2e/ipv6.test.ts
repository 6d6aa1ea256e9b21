import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Fleet, assertBytes } from '../rig/fleet.ts';
import { MIB } from '../rig/images.ts';
import { missingFor } from '../rig/requirements.ts';

describe('a network without IPv4', { skip: missingFor() }, () => {
  test('push, enrolment, exchange and pull work over IPv6 alone', async () => {
    await using fleet = await Fleet.start({ nodes: 2, family: 'ipv6' });
    const image = await fleet.publish('six', [32 * MIB, MIB]);
    await fleet.node(1).containerd.pull(image.reference);
    const before = (await fleet.hub.machine.traffic()).sentBytes;
    await fleet.node(2).containerd.pull(image.reference);
    for (const { containerd } of fleet.nodes) await assertBytes(containerd, image);
    const sent = (await fleet.hub.machine.traffic()).sentBytes - before;
    assert.ok(sent < image.bytes / 2, `the hub sent ${sent} bytes to the second node`);
    const metrics = await fleet.node(2).agent.metrics();
    const fromPeers = metrics.sum('flotilla_agent_fetched_bytes_total', { source: 'peer' });
    assert.ok(fromPeers > image.bytes / 2, `only ${fromPeers} bytes came from the first node`);
  });
});
