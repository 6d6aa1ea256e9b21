import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { after, afterEach, before, describe, test } from 'node:test';
import { Fleet, hostsOf } from '../rig/fleet.ts';
import type { FleetNode, Published } from '../rig/fleet.ts';
import { MIB } from '../rig/images.ts';
import { fetchedBytes, pulls } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';

const LAYERS = [24 * MIB, 9 * MIB];
const CHUNKED_BYTES = LAYERS.reduce((sum, bytes) => sum + bytes, 0);
const TIMEOUT_MS = 30_000;

/** What containerd's file is, besides when it was read. */
async function factsOf(path: string): Promise<object> {
  const { ino, mode, size, mtimeMs, ctimeMs, nlink } = await stat(path);
  return { ino, mode, size, mtimeMs, ctimeMs, nlink };
}

async function stored(node: FleetNode, what: string): Promise<number> {
  return (await node.agent.metrics()).sum(`flotilla_agent_store_${what}`);
}

describe('images that a node has from before', { skip: missingFor() }, () => {
  let fleet: Fleet;
  before(async () => {
    fleet = await Fleet.start({ nodes: 2, shareContainerd: true });
  });
  afterEach(() => fleet.restore());
  after(async () => fleet[Symbol.asyncDispose]());

  /** Blobs of which the hub knows who has them. */
  async function trackedBlobs(): Promise<number> {
    return (await fleet.hub.metrics()).sum('flotilla_hub_tracker_blobs');
  }

  /** containerd of the node pulls from the hub itself, then finds the image again by the mirror. */
  async function hasFromBefore(node: FleetNode, image: Published): Promise<void> {
    const { containerd, machine } = node;
    const hosts = hostsOf(machine, fleet.hub.machine);
    await containerd.setHosts({ ...hosts, mirrors: [hosts.server] });
    await pulls(node, image);
    await containerd.setHosts(hosts);
    assert.equal(await stored(node, 'reserved_bytes'), 0);
    const shared = await stored(node, 'node_blobs_total');
    const tracked = await trackedBlobs();
    await containerd.pull(image.reference);
    await until('the layers are shared', TIMEOUT_MS, async () => {
      const now = await stored(node, 'node_blobs_total');
      const isTold = (await trackedBlobs()) - tracked >= LAYERS.length;
      return now - shared === LAYERS.length && isTold ? true : undefined;
    });
  }

  test('are given to the others out of containerd, without a second copy', async () => {
    const [first, second] = [fleet.node(1), fleet.node(2)];
    const image = await fleet.publish('from-before', LAYERS);
    await hasFromBefore(first, image);
    const paths = image.layers.map(({ digest }) => first.containerd.blobPath(digest));
    const asPulled = await Promise.all(paths.map(factsOf));
    const base = await fetchedBytes(second, 'peer');
    await pulls(second, image);
    const fromPeer = (await fetchedBytes(second, 'peer')) - base;
    assert.ok(fromPeer >= CHUNKED_BYTES * 0.9, `${fromPeer} bytes came from the other node`);
    assert.ok((await stored(first, 'reserved_bytes')) < MIB, 'no layer is stored twice');
    assert.deepEqual(await Promise.all(paths.map(factsOf)), asPulled, 'containerd has its files');
  });

  test('are let go when containerd deletes them, and fetched from elsewhere', async () => {
    const [first, second] = [fleet.node(1), fleet.node(2)];
    const image = await fleet.publish('deleted', LAYERS);
    await hasFromBefore(first, image);
    const lost = await stored(first, 'node_lost_total');
    await first.containerd.remove(image.reference);
    await pulls(second, image);
    await until('the deleted layers are noticed', TIMEOUT_MS, async () => {
      const now = await stored(first, 'node_lost_total');
      return now - lost === LAYERS.length ? true : undefined;
    });
    await pulls(first, image);
  });
});
