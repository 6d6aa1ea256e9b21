import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { fetchDigest, HUB_NAME, LoopbackFleet, pull } from './loopback-fleet.ts';

const MIB = 1024 * 1024;
const AGENTS = 4;
/** Copies of an image that may leave the hub while all agents pull it. */
const COPIES_MAX = 1.5;

test('agents that pull at the same moment share about one copy from the hub', async () => {
  await using fleet = await LoopbackFleet.start(AGENTS);
  const layers = [randomBytes(48 * MIB + 13), randomBytes(9 * MIB), randomBytes(200_000)];
  const image = await fleet.push('team/app', 'v1', layers);
  await Promise.all(fleet.agents.map((agent) => pull(agent, image)));
  const sent = (await fleet.hubMetrics()).sum('flotilla_hub_blob_sent_bytes_total');
  const [fromHub, fromPeers] = [await fleet.fetchedFrom('hub'), await fleet.fetchedFrom('peer')];
  assert.ok(sent / image.bytes <= COPIES_MAX, `hub sent ${sent / image.bytes} copies`);
  assert.ok(fromHub / image.bytes <= COPIES_MAX, `agents took ${fromHub / image.bytes} copies`);
  assert.ok(fromPeers >= image.bytes * (AGENTS - COPIES_MAX), `${fromPeers} bytes from peers`);
  const [first] = fleet.agents;
  assert.ok(first);
  await pull(first, image);
  const again = (await fleet.hubMetrics()).sum('flotilla_hub_blob_sent_bytes_total');
  assert.equal(again, sent, 'the next pull comes from the node itself');
});

test('with the hub gone, a node without the image gets it by digest from a peer', async () => {
  await using fleet = await LoopbackFleet.start(2);
  const image = await fleet.push('team/app', 'v1', [randomBytes(12 * MIB), randomBytes(1_000)]);
  const [holder, other] = fleet.agents;
  assert.ok(holder && other);
  await pull(holder, image);
  await fleet.stopHub();
  await pull(other, image, { by: 'digest' });
});

test('ranges of a blob that is still on its way are exact', async () => {
  await using fleet = await LoopbackFleet.start(2);
  const layer = randomBytes(20 * MIB + 5);
  const image = await fleet.push('team/app', 'v1', [layer]);
  const digest = image.blobs[1]?.digest;
  await Promise.all(
    fleet.agents.flatMap((agent) =>
      [0, 3 * MIB + 1, 17 * MIB, 20 * MIB].map(async (start) => {
        const url = `${agent.mirrorUrls[0]}/v2/team/app/blobs/${digest}?ns=${HUB_NAME}`;
        const end = Math.min(start + 60_000, layer.length);
        const got = await fetchDigest(url, { range: `bytes=${start}-${end - 1}` });
        assert.equal(got.status, 206);
        assert.ok(got.bytes.equals(layer.subarray(start, end)));
      }),
    ),
  );
});

test('a digest is answered only under a name that has it', async () => {
  await using fleet = await LoopbackFleet.start(1);
  const image = await fleet.push('team/app', 'v1', [randomBytes(5 * MIB)]);
  await fleet.push('team/other', 'v1', [randomBytes(1_000)]);
  const [agent] = fleet.agents;
  assert.ok(agent);
  await pull(agent, image);
  for (const { digest } of image.blobs) {
    const url: string = `${agent.mirrorUrls[0]}/v2/team/other/blobs/${digest}?ns=${HUB_NAME}`;
    assert.equal((await fetchDigest(url)).status, 404);
  }
});

test('an upstream is read through the agent under its own name', async () => {
  await using fleet = await LoopbackFleet.start(0);
  await using upstream = await LoopbackFleet.start(0);
  const layer = randomBytes(6 * MIB);
  const image = await upstream.push('library/app', 'v1', [layer]);
  const upstreams = [{ name: 'docker.io', url: upstream.hubUrl }];
  const agent = await fleet.addAgent('n1', { upstreams });
  const base = `${agent.mirrorUrls[0]}/v2`;
  for (const query of ['library/app/manifests/v1?ns=docker.io', 'docker.io/app/manifests/v1']) {
    assert.equal((await fetchDigest(`${base}/${query}`)).digest, image.digest);
  }
  const blob = image.blobs[1]?.digest;
  const path = `library/app/blobs/${blob}`;
  assert.equal((await fetchDigest(`${base}/${path}?ns=docker.io`)).digest, blob);
  // The hub does not tell strangers whether it has a project of that name.
  assert.equal((await fetchDigest(`${base}/${path}?ns=${HUB_NAME}`)).status, 401);
  assert.ok((await fleet.fetchedFrom('upstream')) >= layer.length);
});
