import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { Fleet, assertBytes, type Published } from '../rig/fleet.ts';
import { ADMIN, HUB_NAME } from '../rig/fleet-config.ts';
import { HUB_PORT, type Program } from '../rig/flotilla.ts';
import { HubPair } from '../rig/hub-pair.ts';
import { makeImage, MIB } from '../rig/images.ts';
import { missingPostgres } from '../rig/postgres.ts';
import { fetchedBytes, pulls, pullsAgain } from '../rig/pulls.ts';
import { missingForRadosgw } from '../rig/radosgw.ts';
import { missingFor } from '../rig/requirements.ts';
import * as skopeo from '../rig/skopeo.ts';
import { until } from '../rig/until.ts';

/** Blobs of both owners, with near certainty. */
const LAYERS = [40, 24, 16, 12, 8, 8].map((size) => size * MIB);
const COPIES_MAX = 1.2;
const PROGRESS_TIMEOUT_MS = 90_000;
/** Slow enough that a pull is under way when a hub is killed. */
const SLOW_MBIT = 100;
const BASIC = `Basic ${Buffer.from(`${ADMIN.username}:${ADMIN.password}`).toString('base64')}`;

const skip = missingFor('nginx') || missingPostgres() || missingForRadosgw();

describe('two hubs on one PostgreSQL and one bucket, behind nginx', { skip }, () => {
  let fleet: Fleet;
  let pair: HubPair;
  before(async () => {
    fleet = await Fleet.start({
      nodes: 4,
      startHub: async (scratch, machine, stops) => {
        pair = await HubPair.start(scratch, machine, stops);
        const [hub] = pair.hubs;
        assert.ok(hub);
        return hub;
      },
    });
  });
  afterEach(async () => {
    await fleet.hub.machine.shape(undefined);
    for (const hub of pair.hubs) await hub.restore();
    await pair.agreed();
  });
  after(async () => fleet[Symbol.asyncDispose]());

  const ask = (url: string, options: object = {}) =>
    fleet.hub.worker.http(url, { headers: { authorization: BASIC }, ...options });

  test('what is pushed through one is pulled through the other meanwhile', async () => {
    const first = await fleet.publish('pulled', LAYERS);
    const image = await makeImage(fleet.scratch, 'pushed', LAYERS);
    const [one, other] = [1, 2].map((number) => pair.urlOf(number));
    const target = `${new URL(one ?? '').host}/test/pushed:v1`;
    const [layer] = first.layers;
    await Promise.all([
      skopeo.push(fleet.hub.machine, image, target, ADMIN),
      ...fleet.nodes.map((node) => pulls(node, first)),
    ]);
    const manifest = await ask(`${other}/v2/test/pushed/manifests/v1`);
    assert.equal(manifest.headers['docker-content-digest'], image.manifestDigest);
    const blob = await ask(`${other}/v2/test/pulled/blobs/${layer?.digest}`);
    assert.equal(`sha256:${blob.bodySha256}`, layer?.digest);
    const byDigest = `${HUB_NAME}/test/pushed@${image.manifestDigest}`;
    const pushed = { ...image, byDigest, repository: 'test/pushed' };
    await pulls(fleet.node(1), { ...pushed, reference: `${HUB_NAME}/test/pushed:v1` });
  });

  test('an upload goes on at whichever hub nginx asks', async () => {
    const base = `http://127.0.0.1:${HUB_PORT}`;
    const parts = [3 * MIB, 7 * MIB + 1, 5, 6 * MIB].map((size) => randomBytes(size));
    const opened = await ask(`${base}/v2/test/moved/blobs/uploads/`, { method: 'POST' });
    const { location = '' } = opened.headers;
    const place = new URL(location, base);
    const served = new Set([opened.headers['x-served-by']]);
    for (const body of parts) {
      const patched = await ask(`${base}${place.pathname}${place.search}`, {
        method: 'PATCH',
        body,
      });
      assert.equal(patched.status, 202, patched.body.toString());
      served.add(patched.headers['x-served-by']);
    }
    const whole = Buffer.concat(parts);
    const digest = `sha256:${createHash('sha256').update(whole).digest('hex')}`;
    place.searchParams.set('digest', digest);
    const put = await ask(`${base}${place.pathname}${place.search}`, { method: 'PUT' });
    assert.equal(put.status, 201, put.body.toString());
    assert.equal(served.size, 2, 'nginx asked both hubs');
    for (const number of [1, 2]) {
      const blob = await ask(`${pair.urlOf(number)}/v2/test/moved/blobs/${digest}`);
      assert.equal(`sha256:${blob.bodySha256}`, digest);
    }
  });

  test('a swarm of both takes about one copy of an image from them', async () => {
    const image = await fleet.publish('swarm', LAYERS);
    const earlier = (await fleet.hub.machine.traffic()).sentBytes;
    await Promise.all(fleet.nodes.map(({ containerd }) => containerd.pull(image.reference)));
    const copies = ((await fleet.hub.machine.traffic()).sentBytes - earlier) / image.bytes;
    for (const { containerd } of fleet.nodes) await assertBytes(containerd, image);
    assert.ok(copies <= COPIES_MAX, `the hubs sent ${copies.toFixed(3)} copies`);
    for (const hub of pair.hubs) {
      const metrics = await hub.metrics();
      const answered = metrics.sum('flotilla_hub_replicas_forwards_total', { result: 'ok' });
      const leased = metrics.sum('flotilla_hub_tracker_leases_total');
      assert.ok(answered > 0 && leased > 0, `${hub.name} forwarded ${answered}, leased ${leased}`);
    }
  });

  for (const number of [1, 2]) {
    test(`hub ${number} may be killed while a swarm pulls, and comes back`, async () => {
      const image = await fleet.publish(`killed-${number}`, LAYERS);
      const hub = pair.hubs[number - 1];
      assert.ok(hub);
      await fleet.hub.machine.shape(SLOW_MBIT);
      await killedMeanwhile(image, hub);
      await hub.start();
      await pair.agreed();
      for (const node of fleet.nodes.slice(0, 2)) await pullsAgain(node, image);
      const log = await readFile(path.join(hub.folder, 'log'), 'utf8');
      assert.match(log, /owns its share/);
    });
  }

  async function killedMeanwhile(image: Published, hub: Program): Promise<void> {
    const fetched = async (): Promise<number> => {
      const counts = fleet.nodes.map((node) => fetchedBytes(node, 'hub', 'peer'));
      return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
    };
    const start = await fetched();
    const pulling = Promise.all(fleet.nodes.map((node) => pulls(node, image)));
    pulling.catch(() => {});
    await until('a third of all the pulls', PROGRESS_TIMEOUT_MS, async () => {
      const part = ((await fetched()) - start) / (image.bytes * fleet.nodes.length);
      return part >= 0.33 ? true : undefined;
    });
    await hub.kill();
    await pulling;
  }
});
