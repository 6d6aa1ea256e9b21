import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { until } from '../rig/until.ts';
import type { DockerHub } from './docker-hub.ts';
import type { Fault } from './faults.ts';
import { entryOf, hubInFront, standIn, type HubInFront } from './hub-in-front.ts';
import type { AddedImage } from './images.ts';

const REPOSITORY = 'library/app';
const BASE = `/v2/docker.io/${REPOSITORY}`;
const AGAIN_TIMEOUT_MS = 60_000;
const LIMIT = { pulls: 100, windowSeconds: 21_600 };

function offer(upstream: DockerHub): AddedImage {
  const layers = [{ seed: 'app', bytes: 100_000 }];
  const platforms = ['amd64', 'arm64'].map((architecture) => {
    return { os: 'linux', architecture, layers };
  });
  return upstream.shelf.addImage({ repository: REPOSITORY, tags: ['v1'], platforms });
}

async function isRight(hub: HubInFront, image: AddedImage): Promise<boolean> {
  const answer = await hub.get(`${BASE}/manifests/v1`);
  return answer.status === 200 && answer.sha256 === image.digest;
}

async function trial(t: TestContext, settings: object = {}, accounts = {}) {
  const upstream = await standIn(t, { accounts });
  const image = offer(upstream);
  const hub = await hubInFront(t, [entryOf('docker.io', upstream, settings)]);
  return { upstream, image, hub };
}

const REFUSED: readonly (readonly [string, Fault])[] = [
  ['a page of a captive portal', { kind: 'html' }],
  ['a manifest that is compressed', { kind: 'gzip' }],
  ['a manifest with a wrong byte', { kind: 'flip', at: 50 }],
  ['a manifest that is cut short', { kind: 'truncated', bytes: 50 }],
  ['a refusal by status', { kind: 'status', status: 500 }],
];

// Beside each other, because hubs wait before they ask an upstream again that was wrong.
describe('what an upstream sends instead of a manifest', { concurrency: 4 }, () => {
  for (const [what, fault] of REFUSED) {
    test(`${what} is no manifest; later the right one is served`, async (t) => {
      const { upstream, image, hub } = await trial(t);
      upstream.fault({ on: { kind: 'manifest', method: 'GET' }, fault });
      const answer = await hub.get(`${BASE}/manifests/v1`);
      assert.ok(answer.status >= 500, `answered ${answer.status}`);
      upstream.fault();
      await until('the right manifest', AGAIN_TIMEOUT_MS, async () =>
        (await isRight(hub, image)) ? true : undefined,
      );
    });
  }

  test('a realm at a link-local address is not asked for a token', async (t) => {
    const { upstream, image, hub } = await trial(t);
    const { realm } = upstream;
    upstream.realm = 'https://169.254.169.254/token';
    const answer = await hub.get(`${BASE}/manifests/v1`);
    assert.ok(answer.status >= 400, `answered ${answer.status}`);
    assert.equal(upstream.report().tokens, 0);
    upstream.realm = realm;
    await until('the right manifest', AGAIN_TIMEOUT_MS, async () =>
      (await isRight(hub, image)) ? true : undefined,
    );
  });

  test('a short name is one of the library; a host that is none configured is 404', async (t) => {
    const { image, hub } = await trial(t);
    for (const name of ['docker.io/app', 'docker.io/library/app']) {
      const answer = await hub.get(`/v2/${name}/manifests/v1`);
      assert.deepEqual([answer.status, answer.sha256], [200, image.digest]);
    }
    for (const path of [
      '/v2/app/manifests/v1?ns=docker.io',
      '/v2/app/manifests/v1?ns=index.docker.io',
    ]) {
      const answer = await hub.get(path);
      assert.deepEqual([answer.status, answer.sha256], [200, image.digest]);
    }
    const unknown = await hub.get('/v2/registry.example/app/manifests/v1');
    assert.equal(unknown.status, 404);
    assert.match(unknown.body.toString(), /NAME_UNKNOWN/);
  });

  test('the secret of an account goes to the token service alone', async (t) => {
    const accounts = { ann: { password: 'a secret', id: 'id-of-ann', limit: LIMIT } };
    const credentials = [{ username: 'ann', password: 'a secret' }];
    const { upstream, image, hub } = await trial(t, { credentials }, accounts);
    upstream.shelf.own(REPOSITORY, 'ann');
    assert.ok(await isRight(hub, image));
    const [first] = image.manifests;
    assert.ok(first);
    assert.equal((await hub.get(`${BASE}/manifests/${first.digest}`)).sha256, first.digest);
    const layer = first.layers[0];
    const blob = await hub.get(`${BASE}/blobs/${layer?.digest}`);
    assert.equal(blob.sha256, layer?.digest);
    assert.deepEqual(upstream.report().counted, { ann: 2 });
    const atCdn = upstream.entries.filter(({ host }) => host === 'cdn');
    assert.ok(atCdn.length > 0);
    assert.deepEqual(
      atCdn.filter(({ authorized }) => authorized),
      [],
    );
  });

  test('a digest that one upstream has is no right to it at another', async (t) => {
    const accounts = { ann: { password: 'a secret', id: 'id-of-ann', limit: undefined } };
    const honest = await standIn(t, { accounts });
    const image = offer(honest);
    honest.shelf.own(REPOSITORY, 'ann');
    const hostile = await standIn(t);
    const [first] = image.manifests;
    const layer = first?.layers[0];
    assert.ok(first && layer);
    const stolen = honest.shelf.manifest(REPOSITORY, first.digest);
    assert.ok(stolen);
    hostile.shelf.addManifest(REPOSITORY, stolen.bytes, stolen.mediaType, ['v1']);
    const credentials = [{ username: 'ann', password: 'a secret' }];
    const hub = await hubInFront(t, [
      entryOf('docker.io', honest, { credentials }),
      entryOf('hostile.example', hostile),
    ]);
    for (const reference of ['v1', first.digest]) {
      await hub.get(`${BASE}/manifests/${reference}`);
    }
    assert.equal((await hub.get(`${BASE}/blobs/${layer.digest}`)).sha256, layer.digest);
    const other = `/v2/hostile.example/${REPOSITORY}`;
    assert.equal((await hub.get(`${other}/manifests/v1`)).sha256, first.digest);
    const answer = await hub.get(`${other}/blobs/${layer.digest}`);
    assert.equal(answer.status, 404, answer.body.toString().slice(0, 200));
  });
});
