import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Fleet, type FleetNode, type Published } from '../rig/fleet.ts';
import { MIRROR_PORT } from '../rig/flotilla.ts';
import { MIB } from '../rig/images.ts';
import type { Machine } from '../rig/network.ts';
import { run } from '../rig/processes.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';

const TO_SWARM = ['--dport', '7412'];
const TO_LANE = ['--dport', '7413'];
const FROM_LANE = ['--sport', '7413'];
const LAYER_BYTES = 48 * MIB;
/** A layer then takes some eight seconds: longer than a silent lane is waited for. */
const SLOW_MBIT = 50;
const BODY_TIMEOUT_MS = 120_000;
const METRIC_TIMEOUT_MS = 30_000;
/** LANE_CONNECT_TIMEOUT_MS: a reader must not wait as long as a dial that nobody answers. */
const DIAL_SECONDS = 3;

/** Lets a machine ignore what comes in: nothing is refused, nothing is answered. */
async function ignore(machine: Machine, ...what: string[]): Promise<void> {
  const rule = ['INPUT', '-p', 'tcp', ...what, '-j', 'DROP'];
  await run(machine.inside(['iptables', '-w', '-A', ...rule]));
}

async function heed(machine: Machine): Promise<void> {
  await run(machine.inside(['iptables', '-w', '-F', 'INPUT']));
}

async function lanes(node: FleetNode, outcome: string): Promise<number> {
  return (await node.agent.metrics()).sum('flotilla_agent_swarm_lanes_total', { outcome });
}

async function fetched(node: FleetNode, source: string): Promise<number> {
  return (await node.agent.metrics()).sum('flotilla_agent_fetched_bytes_total', { source });
}

/** Reads the one layer of an image through the agent of a node, and proves it. */
async function read(node: FleetNode, image: Published): Promise<void> {
  const digest = image.layers.at(-1)?.digest ?? '';
  const url = `http://127.0.0.1:${MIRROR_PORT}/v2/${image.repository}/blobs/${digest}`;
  const answer = await node.worker.http(url, { timeoutMs: BODY_TIMEOUT_MS });
  assert.equal(answer.status, 200);
  assert.equal(`sha256:${answer.bodySha256}`, digest);
}

describe('lanes between nodes', { skip: missingFor('iptables') }, () => {
  let fleet: Fleet;
  let first: FleetNode;
  let second: FleetNode;
  before(async () => {
    fleet = await Fleet.start({ nodes: 2, containerd: false });
    [first, second] = [fleet.node(1), fleet.node(2)];
  });
  after(async () => fleet[Symbol.asyncDispose]());

  /** An image whose layer lies on the first node only. */
  async function heldByFirst(name: string): Promise<Published> {
    const image = await fleet.publish(name, [LAYER_BYTES]);
    await read(first, image);
    return image;
  }

  test('where lanes are ignored, streams carry a layer and no reader waits for it', async () => {
    const image = await heldByFirst('ignored');
    await ignore(first.machine, ...TO_LANE);
    await read(second, image);
    assert.ok((await fetched(second, 'peer')) > LAYER_BYTES / 2);
    const metrics = await second.agent.metrics();
    const stalled = metrics.sum('flotilla_agent_reader_stall_seconds_total');
    assert.ok(stalled < DIAL_SECONDS, `the reader waited ${stalled} s`);
    await until('the lane to be given up', METRIC_TIMEOUT_MS, async () =>
      (await lanes(second, 'failed')) > 0 ? true : undefined,
    );
    assert.equal(await lanes(second, 'opened'), 0);
    await heed(first.machine);
  });

  test('a node with the default configuration serves over lanes', async () => {
    const image = await heldByFirst('default');
    await second.agent.stop();
    await second.agent.start();
    await read(second, image);
    assert.ok((await lanes(second, 'opened')) > 0);
    assert.ok((await lanes(first, 'accepted')) > 0);
  });

  test('a lane that falls silent in mid-layer costs neither the layer nor the peer', async () => {
    const image = await heldByFirst('silent');
    await second.agent.stop();
    await second.agent.start();
    await first.machine.shape(SLOW_MBIT);
    const reading = read(second, image);
    await until('the lane to carry', METRIC_TIMEOUT_MS, async () => {
      const flows = (await fetched(second, 'peer')) > LAYER_BYTES / 8;
      return flows && (await lanes(second, 'opened')) > 0 ? true : undefined;
    });
    await ignore(first.machine, ...TO_LANE);
    await ignore(second.machine, ...FROM_LANE);
    await reading;
    await first.machine.shape(undefined);
    await heed(first.machine);
    await heed(second.machine);
    const metrics = await second.agent.metrics();
    assert.equal(metrics.sum('flotilla_agent_swarm_peers_banned_total'), 0);
  });

  test('a node nobody can dial serves over the connection it opened', async () => {
    await ignore(second.machine, ...TO_LANE);
    await ignore(second.machine, ...TO_SWARM);
    await second.agent.stop();
    await second.agent.start();
    const shared = await heldByFirst('opens');
    await read(second, shared);
    const image = await fleet.publish('undialled', [LAYER_BYTES]);
    await read(second, image);
    const earlier = await fetched(first, 'peer');
    await read(first, image);
    assert.ok((await fetched(first, 'peer')) - earlier > LAYER_BYTES / 2);
    await heed(second.machine);
  });
});
