import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { Fleet, type FleetNode } from '../rig/fleet.ts';
import { ADMIN } from '../rig/fleet-config.ts';
import { HUB_PORT, MIRROR_PORT } from '../rig/flotilla.ts';
import { MIB, readLayout } from '../rig/images.ts';
import { HUB_MACHINE_NAME } from '../rig/network.ts';
import { fetchedBytes, pulls, pullsAgain } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import * as skopeo from '../rig/skopeo.ts';
import { until } from '../rig/until.ts';
import type { UpstreamImage } from '../rig/upstream.ts';

const NODES = 4;
const LAYERS = [48, 12, 5].map((size) => size * MIB);
/** So slow that a pull takes some seconds, in which agents find each other. */
const SLOW_MBIT = 100;
/** Whole copies of the image on the wire, with all that TLS and TCP add. */
const COPIES_MAX = 1.06;
const TIMEOUT_MS = 60_000;

describe('a cold image of an upstream', { skip: missingFor('openssl') }, () => {
  let fleet: Fleet;
  before(async () => {
    fleet = await Fleet.start({ nodes: NODES, upstream: {} });
  });
  afterEach(async () => {
    await fleet.upstream.machine.shape(undefined);
    await fleet.upstream.registry.fault();
    await fleet.upstream.registry.forget();
  });
  after(async () => fleet[Symbol.asyncDispose]());

  const everywhere = (what: (node: FleetNode) => Promise<unknown>): Promise<unknown> =>
    Promise.all(fleet.nodes.map(what));

  test('is fetched once for all agents, which counts one pull for each manifest', async () => {
    const image = await fleet.upstream.offer('cold', LAYERS);
    const earlier = (await fleet.upstream.machine.traffic()).sentBytes;
    await everywhere((node) => pulls(node, image));
    const sent = (await fleet.upstream.machine.traffic()).sentBytes - earlier;
    assert.ok(sent / image.bytes <= COPIES_MAX, `the upstream sent ${sent / image.bytes} copies`);
    const report = await fleet.upstream.registry.report();
    assert.deepEqual(
      Object.fromEntries(Object.entries(report.blobs).map(([name, { bytes }]) => [name, bytes])),
      Object.fromEntries([image.config, ...image.layers].map(({ digest, size }) => [digest, size])),
    );
    const gets = Object.entries(report.manifests).map(([name, of]) => [name, of.gets]);
    assert.deepEqual(Object.fromEntries(gets), {
      [image.added.digest]: 1,
      [image.manifestDigest]: 1,
    });
    assert.ok((report.manifests[image.added.digest]?.heads ?? 0) > 0, 'the tag was asked by HEAD');
    assert.equal(
      Object.values(report.counted).reduce((sum, count) => sum + count, 0),
      2,
    );
    for (const node of fleet.nodes) {
      const through = await fetchedBytes(node, 'hub', 'peer');
      assert.ok(through >= image.bytes, `${node.machine.name} went past its agent`);
    }
  });

  test('is there for the next who asks, at no cost but a look at the tag', async () => {
    const image = await fleet.upstream.offer('warm', LAYERS);
    await pulls(fleet.node(1), image);
    await fleet.upstream.registry.forget();
    await pullsAgain(fleet.node(1), image);
    await pulls(fleet.node(2), image);
    const report = await fleet.upstream.registry.report();
    assert.deepEqual([report.counted, report.blobs], [{}, {}]);
  });

  test('goes from agent to agent before the hub has the whole of it', async () => {
    const image = await fleet.upstream.offer('early', [96 * MIB]);
    await fleet.upstream.machine.shape(SLOW_MBIT);
    const fromPeers = async (): Promise<number> => {
      const counts = await Promise.all(fleet.nodes.map((node) => fetchedBytes(node, 'peer')));
      return counts.reduce((sum, count) => sum + count, 0);
    };
    const earlier = await fromPeers();
    const pulling = everywhere((node) => pulls(node, image));
    pulling.catch(() => {});
    await until('a chunk from a peer', TIMEOUT_MS, async () =>
      (await fromPeers()) > earlier ? true : undefined,
    );
    const [layer] = image.layers;
    const { blobs } = await fleet.upstream.registry.report();
    const sent = blobs[layer?.digest ?? '']?.bytes ?? 0;
    assert.ok(sent < (layer?.size ?? 0), `the upstream had sent all ${sent} bytes by then`);
    await pulling;
    assert.equal(await bytesOf(image), image.bytes);
  });

  test('has the same bytes under the name of the hub, with every platform named', async () => {
    const image = await fleet.upstream.offer('plain', [5 * MIB]);
    const name = `docker.io/${image.repository}`;
    const { worker, machine } = fleet.hub;
    const headers = { authorization: basic(), accept: '*/*' };
    const base = `http://${machine.loopbackHost}:${HUB_PORT}`;
    const index = await worker.http(`${base}/v2/${name}/manifests/v1`, { headers });
    assert.equal(index.status, 200, index.body.toString());
    assert.equal(`sha256:${index.bodySha256}`, image.added.digest);
    assert.equal(index.headers['docker-content-digest'], image.added.digest);
    const reference = `${HUB_MACHINE_NAME}:${HUB_PORT}/${name}@${image.manifestDigest}`;
    const layout = await fleet.scratch.make('plain-copy');
    await skopeo.pull(machine, reference, layout, ADMIN);
    assert.equal((await readLayout(layout)).layers.length, image.layers.length);
  });

  test('goes on where the upstream hung up, and nothing is fetched twice', async () => {
    const image = await fleet.upstream.offer('reset', [64 * MIB]);
    const [layer] = image.layers;
    assert.ok(layer);
    const on = { kind: 'blob', name: layer.digest } as const;
    await fleet.upstream.registry.fault({
      on,
      fault: { kind: 'truncated', bytes: 20 * MIB },
      times: 2,
    });
    await everywhere((node) => pulls(node, image));
    const { blobs } = await fleet.upstream.registry.report();
    assert.deepEqual(blobs[layer.digest], { gets: 3, bytes: layer.size });
  });

  test('is refused when its bytes are wrong, and pulled when they are right', async () => {
    const image = await fleet.upstream.offer('wrong', [24 * MIB]);
    const [layer] = image.layers;
    assert.ok(layer);
    const on = { kind: 'blob', name: layer.digest } as const;
    await fleet.upstream.registry.fault({ on, fault: { kind: 'flip', at: 10 * MIB } });
    const failed = await fleet.node(1).containerd.attemptPull(image.reference);
    assert.notEqual(failed.code, 0, 'a layer with a wrong byte was taken');
    await fleet.upstream.registry.fault();
    await until('the right bytes', TIMEOUT_MS, async () => {
      const again = await fleet.node(1).containerd.attemptPull(image.reference);
      return again.code === 0 ? true : undefined;
    });
    await everywhere((node) => pulls(node, image));
  });

  test('that does not exist is a plain 404 at the agent', async () => {
    const { machine, worker } = fleet.node(1);
    const base = `http://${machine.loopbackHost}:${MIRROR_PORT}/v2/library/none`;
    const answer = await worker.http(`${base}/manifests/v1?ns=docker.io`);
    assert.equal(answer.status, 404, answer.body.toString());
  });

  /** What the upstream sent of the image's blobs. */
  async function bytesOf(image: UpstreamImage): Promise<number> {
    const { blobs } = await fleet.upstream.registry.report();
    const all = [image.config, ...image.layers].map(({ digest }) => blobs[digest]?.bytes ?? 0);
    return all.reduce((sum, bytes) => sum + bytes, 0);
  }
});

function basic(): string {
  return `Basic ${Buffer.from(`${ADMIN.username}:${ADMIN.password}`).toString('base64')}`;
}
