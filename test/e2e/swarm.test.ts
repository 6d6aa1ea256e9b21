import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Fleet, assertBytes } from '../rig/fleet.ts';
import type { Published } from '../rig/fleet.ts';
import { MIB } from '../rig/images.ts';
import { missingFor } from '../rig/requirements.ts';
import { scale } from '../rig/scale.ts';

const LAYERS = [scale.bigLayerBytes, 24 * MIB, 3 * MIB];
/** Copies of an image that may leave the hub while all nodes pull it. */
const COPIES_MAX = 1.5;
/** Packet headers and the hub API are on the wire but not in the counters of content. */
const WIRE_OVERHEAD = 0.1;

type Trial = { image: Published; wireBytes: number; fromHub: number; fromPeers: number };

describe('a swarm of real containerds', { skip: missingFor() }, () => {
  let fleet: Fleet;
  before(async () => {
    fleet = await Fleet.start({ nodes: scale.swarmNodes });
  });
  after(async () => fleet[Symbol.asyncDispose]());

  async function fetched(source: string): Promise<number> {
    const counts = await Promise.all(
      fleet.nodes.map(async ({ agent }) => {
        const metrics = await agent.metrics();
        return metrics.sum('flotilla_agent_fetched_bytes_total', { source });
      }),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Runs one pull on all nodes at once and measures where the bytes came from. */
  async function measure(name: string, pull: (image: Published) => Promise<void>): Promise<Trial> {
    const image = await fleet.publish(name, LAYERS);
    const start = {
      wire: (await fleet.hub.machine.traffic()).sentBytes,
      hub: await fetched('hub'),
      peer: await fetched('peer'),
    };
    await pull(image);
    return {
      image,
      wireBytes: (await fleet.hub.machine.traffic()).sentBytes - start.wire,
      fromHub: (await fetched('hub')) - start.hub,
      fromPeers: (await fetched('peer')) - start.peer,
    };
  }

  function assertShared(trial: Trial): void {
    const { image, wireBytes, fromHub, fromPeers } = trial;
    const copies = wireBytes / image.bytes;
    assert.ok(copies <= COPIES_MAX, `the hub sent ${copies.toFixed(2)} copies of the image`);
    const content = fromHub + fromPeers;
    const wanted = image.bytes * fleet.nodes.length;
    assert.ok(
      content >= wanted * 0.98 && content <= wanted * 1.1,
      `agents counted ${content} bytes fetched for ${wanted} bytes of content`,
    );
    assert.ok(
      Math.abs(wireBytes - fromHub) <= wireBytes * WIRE_OVERHEAD,
      `the hub's interface sent ${wireBytes} bytes, the agents counted ${fromHub}`,
    );
  }

  test('nodes that pull with ctr at the same moment share one copy from the hub', async () => {
    const trial = await measure('by-ctr', async ({ reference }) => {
      await Promise.all(fleet.nodes.map(({ containerd }) => containerd.pull(reference)));
    });
    for (const { containerd } of fleet.nodes) await assertBytes(containerd, trial.image);
    assertShared(trial);
    const [file = '', sha256 = ''] = [...trial.image.files][0] ?? [];
    const command = ['sha256sum', file];
    const printed = await fleet.node(1).containerd.runContainer(trial.image.reference, command);
    assert.equal(printed.split(' ')[0], sha256);
  });

  test('nodes that pull with CRI share one copy, and a pod runs from it', async () => {
    const trial = await measure('by-cri', async ({ reference }) => {
      await Promise.all(fleet.nodes.map(({ containerd }) => containerd.cri.pullImage(reference)));
    });
    for (const { containerd } of fleet.nodes) await assertBytes(containerd, trial.image);
    assertShared(trial);
    const pod = await fleet.node(2).containerd.cri.runPod({
      name: 'swarm',
      image: trial.image.reference,
      command: ['/bin/sleep', '1000'],
      logFolder: await fleet.scratch.make('pod-logs'),
    });
    for (const [file, sha256] of trial.image.files) {
      const printed = await pod.exec(['sha256sum', file]);
      assert.equal(printed.split(' ')[0], sha256);
    }
    await pod.remove();
  });
});
