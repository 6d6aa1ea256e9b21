import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request } from 'undici';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { MANIFEST_TYPE, manifestOf } from './fixture-images.ts';
import { startTestMirror } from './fixture.ts';

const MANIFEST = manifestOf([Buffer.from('layer')]);
const BYTES = Buffer.from(JSON.stringify(MANIFEST));
const CHALLENGE = 'Bearer realm="https://auth.example/token",service="registry"';

async function get(
  url: string,
  headers: Record<string, string> = {},
  method: 'GET' | 'HEAD' = 'GET',
) {
  const response = await request(url, { headers, method });
  const body = Buffer.from(await response.body.arrayBuffer());
  return { status: response.statusCode, headers: response.headers, body };
}

test('a tag is answered by the hub with everything a runtime needs', async () => {
  await using on = await startTestMirror();
  const digest = on.hub.putManifest('app', 'v1', MANIFEST, MANIFEST_TYPE);
  for (const method of ['HEAD', 'GET'] as const) {
    const got = await get(`${on.url}/v2/app/manifests/v1?ns=hub.example`, {}, method);
    assert.equal(got.status, 200);
    assert.equal(got.headers['docker-content-digest'], digest);
    assert.equal(got.headers['content-length'], String(BYTES.length));
    assert.equal(got.headers['content-type'], MANIFEST_TYPE);
    assert.deepEqual(got.body, method === 'GET' ? BYTES : Buffer.alloc(0));
  }
});

test('a manifest takes Range and If-None-Match like any content', async () => {
  await using on = await startTestMirror();
  const digest = on.hub.putManifest('app', 'v1', MANIFEST, MANIFEST_TYPE);
  const url = `${on.url}/v2/app/manifests/${digest}`;
  const ranged = await get(url, { range: 'bytes=0-' });
  assert.equal(ranged.status, 206);
  assert.equal(ranged.headers['content-range'], `bytes 0-${BYTES.length - 1}/${BYTES.length}`);
  assert.deepEqual(ranged.body, BYTES);
  const same = await get(url, { 'if-none-match': `"${digest}"` });
  assert.equal(same.status, 304);
});

test('a tag is never answered from the node or from peers', async () => {
  await using on = await startTestMirror();
  const digest = on.hub.putManifest('app', 'v1', MANIFEST, MANIFEST_TYPE);
  assert.equal((await get(`${on.url}/v2/app/manifests/v1`)).status, 200);
  on.hub.down = true;
  on.content.put(BYTES);
  on.grants.granted.add(`app@${digest}`);
  assert.equal((await get(`${on.url}/v2/app/manifests/v1`)).status, 503);
  assert.equal((await get(`${on.url}/v2/app/manifests/${digest}`)).status, 200, 'by digest it is');
});

test('with the hub down a granted manifest comes from peers', async () => {
  await using on = await startTestMirror();
  on.hub.down = true;
  const digest = on.content.put(BYTES);
  on.grants.granted.add(`app@${digest}`);
  const got = await get(`${on.url}/v2/app/manifests/${digest}`);
  assert.equal(got.status, 200);
  assert.equal(got.headers['content-type'], MANIFEST_TYPE);
  assert.deepEqual(got.body, BYTES);
  assert.deepEqual(on.content.opened[0]?.grant?.grant, Buffer.from('grant'));
});

test('holding a manifest does not give the right to it', async () => {
  await using on = await startTestMirror();
  const digest = on.hub.putManifest('app', 'v1', MANIFEST, MANIFEST_TYPE);
  on.content.put(BYTES);
  assert.equal((await get(`${on.url}/v2/app/manifests/v1`)).status, 200);
  assert.equal((await get(`${on.url}/v2/other/manifests/${digest}`)).status, 404);
  assert.equal((await get(`${on.url}/v2/app/manifests/${digest}?ns=docker.io`)).status, 404);
  on.hub.down = true;
  assert.equal((await get(`${on.url}/v2/other/manifests/${digest}`)).status, 503);
});

test("credentials go to the request's own registry and its challenge comes back", async () => {
  await using on = await startTestMirror();
  const digest = on.upstream.putManifest('team/app', 'v1', MANIFEST, MANIFEST_TYPE);
  on.upstream.challenge = CHALLENGE;
  on.upstream.accepts = 'Bearer pod';
  const url = `${on.url}/v2/team/app/manifests/v1?ns=docker.io`;
  const first = await get(url);
  assert.equal(first.status, 401);
  assert.equal(first.headers['www-authenticate'], CHALLENGE);
  const second = await get(url, { authorization: 'Bearer pod' });
  assert.equal(second.status, 200);
  assert.deepEqual(on.hub.calls, [], 'the hub sees none of it');
  assert.ok(!JSON.stringify(on.logs).includes('Bearer pod'));
  // What needed credentials is confirmed each time, though the bytes are here.
  const byDigest = `${on.url}/v2/team/app/manifests/${digest}?ns=docker.io`;
  assert.equal((await get(byDigest)).status, 401);
  assert.equal((await get(byDigest, { authorization: 'Bearer pod' })).status, 200);
});

test('a 401 of the hub is passed on as it is', async () => {
  await using on = await startTestMirror();
  on.hub.challenge = CHALLENGE;
  const got = await get(`${on.url}/v2/app/manifests/v1`);
  assert.equal(got.status, 401);
  assert.equal(got.headers['www-authenticate'], CHALLENGE);
});

test('an upstream manifest that is here costs a HEAD only', async () => {
  await using on = await startTestMirror();
  on.upstream.putManifest('library/app', 'v1', MANIFEST, MANIFEST_TYPE);
  const url = `${on.url}/v2/docker.io/app/manifests/v1`;
  assert.equal((await get(url)).status, 200);
  assert.equal((await get(url)).status, 200);
  assert.deepEqual(
    on.upstream.calls.map(({ call }) => call),
    ['head tag', 'get digest', 'head tag'],
  );
});

test('public upstream content by digest outlives its upstream', async () => {
  await using on = await startTestMirror();
  const digest = on.upstream.putManifest('library/app', 'v1', MANIFEST, MANIFEST_TYPE);
  const url = `${on.url}/v2/library/app/manifests/${digest}?ns=docker.io`;
  assert.equal((await get(url)).status, 200);
  on.upstream.down = true;
  assert.equal((await get(url)).status, 200);
  on.clock.nowMs += 31 * 60_000;
  assert.equal((await get(url)).status, 503, 'but not for ever');
});

test('an unknown manifest is 404 in the words of the specification', async () => {
  await using on = await startTestMirror();
  const got = await get(`${on.url}/v2/app/manifests/none`);
  assert.equal(got.status, 404);
  assert.match(got.body.toString(), /MANIFEST_UNKNOWN/);
  const unlisted = await get(`${on.url}/v2/app/manifests/none?ns=ghcr.io`);
  assert.match(unlisted.body.toString(), /NAME_UNKNOWN/);
});

test('an artifact that cannot be parsed passes, gives no rights and is not kept', async () => {
  await using on = await startTestMirror();
  const odd = { schemaVersion: 1, history: [] };
  const digest: Digest = on.hub.putManifest('odd', 'v1', odd, 'application/vnd.odd+json');
  const got = await get(`${on.url}/v2/odd/manifests/v1`);
  assert.equal(got.status, 200);
  assert.equal(got.headers['content-type'], 'application/vnd.odd+json');
  assert.equal(on.local.small.has(digest), false);
});

test('a layer that reads like a manifest gives no rights', async () => {
  await using on = await startTestMirror();
  const secret = Buffer.from('of another repository');
  const secretDigest = on.content.put(secret);
  on.local.small.set(secretDigest, secret);
  const layer = Buffer.from(JSON.stringify(manifestOf([secret])));
  const layerDigest = on.content.put(layer);
  on.local.small.set(layerDigest, layer);
  const outer = manifestOf([layer]);
  on.hub.putManifest('app', 'v1', outer, MANIFEST_TYPE);
  on.upstream.putManifest('library/app', 'v1', outer, MANIFEST_TYPE);
  on.grants.granted.add(`app@${layerDigest}`);
  for (const base of ['/v2/app', '/v2/docker.io/app']) {
    assert.equal((await get(`${on.url}${base}/manifests/v1`)).status, 200);
    await get(`${on.url}${base}/manifests/${layerDigest}`);
    assert.equal((await get(`${on.url}${base}/blobs/${secretDigest}`)).status, 404, base);
  }
});

test('content resolved with credentials is not for a client without them', async () => {
  await using on = await startTestMirror();
  const layer = Buffer.from('layer');
  on.local.small.set(on.content.put(layer), layer);
  on.upstream.putManifest('library/app', 'v1', MANIFEST, MANIFEST_TYPE);
  Object.assign(on.upstream, { challenge: CHALLENGE, accepts: 'Bearer good' });
  const authorization = 'Bearer good';
  const base = `${on.url}/v2/docker.io/app`;
  assert.equal((await get(`${base}/manifests/v1`, { authorization })).status, 200);
  const blob = `${base}/blobs/${digestOf(layer)}`;
  assert.equal((await get(blob)).status, 401);
  assert.equal((await get(blob, { authorization: 'Bearer other' })).status, 401);
  assert.equal((await get(blob, { authorization })).status, 200);
});
