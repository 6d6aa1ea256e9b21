import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { Fleet, type FleetNode } from '../rig/fleet.ts';
import type { Program } from '../rig/flotilla.ts';
import { HubPair } from '../rig/hub-pair.ts';
import { MIB } from '../rig/images.ts';
import { missingPostgres } from '../rig/postgres.ts';
import { fetchedBytes, pulls } from '../rig/pulls.ts';
import { missingForRadosgw } from '../rig/radosgw.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';

const LAYERS = [40, 24, 12, 8, 5].map((size) => size * MIB);
const SLOW_MBIT = 300;
const SHARED_BYTES = 96 * MIB;
/** Of four agents; each would take one past the others. */
const SHARED_COPIES_MAX = 2;
const FORWARDS = 'flotilla_hub_upstream_provisional_forwards_total';
/** So large that what was not parked yet is a small part. */
const LARGE_BYTES = 448 * MIB;
const COPIES_MAX = 1.1;
const TIMEOUT_MS = 60_000;

const skip = missingFor('nginx', 'openssl') || missingPostgres() || missingForRadosgw();

describe('two hubs in front of one upstream', { skip }, () => {
  let fleet: Fleet;
  let pair: HubPair;
  before(async () => {
    fleet = await Fleet.start({
      nodes: 4,
      upstream: {},
      startHub: async (scratch, machine, stops, changes) => {
        pair = await HubPair.start(scratch, machine, stops, changes);
        const [hub] = pair.hubs;
        assert.ok(hub);
        return hub;
      },
    });
  });
  afterEach(async () => {
    await fleet.upstream.machine.shape(undefined);
    for (const hub of pair.hubs) await hub.restore();
    await pair.agreed();
    await fleet.upstream.registry.forget();
  });
  after(async () => fleet[Symbol.asyncDispose]());

  const everywhere = (what: (node: FleetNode) => Promise<unknown>): Promise<unknown> =>
    Promise.all(fleet.nodes.map(what));

  test('fetch each blob once, and each manifest once', async () => {
    const image = await fleet.upstream.offer('pair', LAYERS);
    await everywhere((node) => pulls(node, image));
    const { blobs, manifests } = await fleet.upstream.registry.report();
    for (const { digest, size } of [image.config, ...image.layers]) {
      assert.equal(blobs[digest]?.bytes, size, `bytes of ${digest}`);
    }
    assert.deepEqual(
      [image.added.digest, image.manifestDigest].map((digest) => manifests[digest]?.gets),
      [1, 1],
    );
  });

  test('share a blob among their agents before the one that fetches it has it all', async () => {
    const { registry, machine } = fleet.upstream;
    const image = await fleet.upstream.offer('shared', [SHARED_BYTES]);
    const [layer] = image.layers;
    assert.ok(layer);
    await machine.shape(SLOW_MBIT);
    const earlier = await sentBytes(pair.hubs);
    const fromPeers = await peerBytes(fleet.nodes);
    const pulling = everywhere((node) => pulls(node, image));
    pulling.catch(() => {});
    await until('chunks from peers', TIMEOUT_MS, async () =>
      (await peerBytes(fleet.nodes)) - fromPeers > layer.size / 2 ? true : undefined,
    );
    const { blobs } = await registry.report();
    const fetched = blobs[layer.digest]?.bytes ?? 0;
    assert.ok(fetched < layer.size, `the upstream had sent all ${fetched} bytes by then`);
    await pulling;
    const copies = ((await sentBytes(pair.hubs)) - earlier) / layer.size;
    assert.ok(copies <= SHARED_COPIES_MAX, `${copies} copies left the hubs`);
    const passedOn = await sumOf(pair.hubs, FORWARDS, { result: 'told' });
    assert.ok(passedOn > 0, 'no question was passed on');
  });

  test('when the one that fetches is killed, the other goes on by Range', async () => {
    const { registry, machine } = fleet.upstream;
    const image = await fleet.upstream.offer('owner-killed', [LARGE_BYTES]);
    const [layer] = image.layers;
    assert.ok(layer);
    await machine.shape(SLOW_MBIT);
    const earlier = await fetchedBy(pair.hubs);
    const pulling = fleet.nodes.map((node) => node.containerd.attemptPull(image.reference));
    await until('half of the layer', TIMEOUT_MS, async () => {
      const { blobs } = await registry.report();
      return (blobs[layer.digest]?.bytes ?? 0) > layer.size / 2 ? true : undefined;
    });
    const now = await fetchedBy(pair.hubs);
    const [owner] = pair.hubs.toSorted(
      (a, b) =>
        (now.get(b) ?? 0) - (earlier.get(b) ?? 0) - (now.get(a) ?? 0) + (earlier.get(a) ?? 0),
    );
    assert.ok(owner);
    await owner.kill();
    await Promise.all(pulling);
    await everywhere((node) => pulls(node, image));
    const { blobs } = await registry.report();
    const copies = (blobs[layer.digest]?.bytes ?? 0) / layer.size;
    assert.ok(copies >= 1 && copies <= COPIES_MAX, `the upstream sent ${copies} copies`);
  });
});

async function sumOf(
  hubs: readonly Program[],
  name: string,
  labels: Record<string, string> = {},
): Promise<number> {
  const counts = await Promise.all(
    hubs.map(async (hub) => (await hub.metrics()).sum(name, labels)),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Bytes of blobs that left the hubs for agents and other clients. */
function sentBytes(hubs: readonly Program[]): Promise<number> {
  return sumOf(hubs, 'flotilla_hub_blob_sent_bytes_total');
}

/** Bytes that agents gave each other. */
async function peerBytes(nodes: readonly FleetNode[]): Promise<number> {
  const counts = await Promise.all(nodes.map((node) => fetchedBytes(node, 'peer')));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Bytes that each hub itself took from upstreams. */
async function fetchedBy(hubs: readonly Program[]): Promise<Map<Program, number>> {
  const counts = hubs.map(async (hub) => {
    const metrics = await hub.metrics();
    return [hub, metrics.sum('flotilla_hub_upstream_ingest_bytes_total')] as const;
  });
  return new Map(await Promise.all(counts));
}
