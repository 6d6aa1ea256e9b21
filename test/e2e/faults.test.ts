import assert from 'node:assert/strict';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { Fleet } from '../rig/fleet.ts';
import { MIB } from '../rig/images.ts';
import { fetchedBytes, pulls, pullsAgain, pullsDespite } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import { scale } from '../rig/scale.ts';

/** Agents reach the hub through the faulting proxy on this port of the hub's machine. */
const PROXY_PORT = 7500;
const FAST_MBIT = 400;
const PEER_MBIT = 100;
/** Slow enough that the hub cannot finish a transfer before a test interrupts it. */
const SLOW_MBIT = 20;
/** Bytes into an answer: past every message of the API, within the body of a chunk. */
const MID_BODY_BYTES = 500_000;
const UNSAVED_BYTES_MAX = 64 * MIB;
const MISBEHAVING_AGENT = path.join(import.meta.dirname, '..', 'rig', 'misbehaving-agent.ts');

describe('a pull succeeds, and so does the next one', { skip: missingFor() }, () => {
  let fleet: Fleet;
  before(async () => {
    fleet = await Fleet.start({ nodes: 3, hubPortForAgents: PROXY_PORT });
  });
  afterEach(async () => fleet.restore());
  after(async () => fleet[Symbol.asyncDispose]());

  const layers = [scale.faultLayerBytes, 2 * MIB];

  test('when the hub stops after one node has the image', async () => {
    const image = await fleet.publish('hub-stops', layers);
    await pulls(fleet.node(1), image, image.byDigest);
    await fleet.hub.stop();
    await pulls(fleet.node(2), image, image.byDigest);
    await pulls(fleet.node(3), image, image.byDigest);
    await pullsAgain(fleet.node(2), image, image.byDigest);
  });

  test('when the peer that has the image is killed in mid-transfer', async () => {
    const image = await fleet.publish('peer-killed', layers);
    const [holder, node] = [fleet.node(1), fleet.node(2)];
    await pulls(holder, image);
    await fleet.hub.machine.shape(SLOW_MBIT);
    await holder.machine.shape(PEER_MBIT);
    const afterBytes = scale.faultLayerBytes / 8;
    await pullsDespite({ node, image, afterBytes, sources: ['peer'] }, async () => {
      await holder.agent.kill();
      await fleet.hub.machine.shape(FAST_MBIT);
    });
    await pullsAgain(node, image);
    await pulls(fleet.node(3), image);
  });

  test('when a peer stalls', async () => {
    const image = await fleet.publish('peer-stalls', layers);
    const [holder, node] = [fleet.node(1), fleet.node(2)];
    await pulls(holder, image);
    await fleet.hub.machine.shape(SLOW_MBIT);
    await holder.machine.shape(PEER_MBIT);
    const afterBytes = scale.faultLayerBytes / 8;
    await pullsDespite({ node, image, afterBytes, sources: ['peer'] }, async () => {
      holder.agent.running.kill('SIGSTOP');
      await fleet.hub.machine.shape(FAST_MBIT);
    });
    await pullsAgain(node, image);
    await pulls(fleet.node(3), image);
  });

  test('when a peer flips a bit in one chunk of ten; the peer is banned by name', async () => {
    const image = await fleet.publish('peer-lies', layers);
    const [liar, node] = [fleet.node(1), fleet.node(2)];
    await pulls(liar, image);
    await liar.agent.stop();
    liar.agent.command = [process.execPath, MISBEHAVING_AGENT];
    await liar.agent.start();
    // A slow hub makes the liar the better source.
    await fleet.hub.machine.shape(PEER_MBIT);
    const earlier = await node.agent.metrics();
    await pulls(node, image);
    const metrics = await node.agent.metrics();
    const more = (name: string): number => metrics.sum(name) - earlier.sum(name);
    assert.ok(more('flotilla_agent_chunks_rejected_total') >= 1, 'no chunk was rejected');
    assert.ok(more('flotilla_agent_swarm_peers_banned_total') >= 1, 'no peer was banned');
    assert.match(node.agent.running.output(), /\bban[^\n]*\bn1\b|\bn1\b[^\n]*\bban/i);
    await pullsAgain(node, image);
    await pulls(fleet.node(3), image);
  });

  test('when the agent is killed at 60 % and started again, which fetches the rest', async () => {
    const image = await fleet.publish('agent-killed', [scale.bigLayerBytes]);
    const node = fleet.node(2);
    await fleet.hub.machine.shape(FAST_MBIT);
    const afterBytes = image.bytes * 0.6;
    let kept = 0;
    await pullsDespite({ node, image, afterBytes, sources: ['hub', 'peer'] }, async (fetched) => {
      kept = fetched;
      await node.agent.kill();
    });
    await node.agent.start();
    await pullsAgain(node, image);
    const rest = await fetchedBytes(node, 'hub', 'peer');
    const allowed = image.bytes - kept + UNSAVED_BYTES_MAX;
    assert.ok(rest <= allowed, `${rest} bytes were fetched after the restart, not ${allowed}`);
  });

  test('when the agent does not run at all', async () => {
    const image = await fleet.publish('no-agent', layers);
    const node = fleet.node(3);
    await node.agent.stop();
    await pulls(node, image);
    await pullsAgain(node, image);
    await node.agent.start();
    await pullsAgain(node, image);
  });

  for (const action of ['cut', 'flip'] as const) {
    const what = action === 'cut' ? 'cut' : 'corrupted';
    test(`when the hub's answers to the agents are ${what} in mid-body`, async () => {
      const image = await fleet.publish(`hub-${action}`, layers);
      const { worker } = fleet.hub;
      const earlier = await worker.faultsApplied();
      await worker.setFault({ action, afterBytes: MID_BODY_BYTES, times: 3 });
      await Promise.all(fleet.nodes.map((node) => pulls(node, image)));
      const applied = (await worker.faultsApplied()) - earlier;
      assert.ok(applied >= 1, 'the proxy had no answer long enough to spoil');
      await worker.setFault({ action: 'none', afterBytes: 0, times: 0 });
      for (const node of fleet.nodes) await pullsAgain(node, image);
    });
  }
});
