import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request } from 'undici';
import type { Digest } from '../../proto/oci/digest.ts';
import { MANIFEST_TYPE, manifestOf } from './fixture-images.ts';
import { startTestMirror, type TestMirror } from './fixture.ts';

const MANIFEST = manifestOf([Buffer.from('layer')]);
const BYTES = Buffer.from(JSON.stringify(MANIFEST));
const WARNING = '110 - "Response is Stale"';
const HOUR_MS = 3_600_000;

async function get(url: string, method: 'GET' | 'HEAD' = 'GET') {
  const response = await request(url, { method });
  const body = Buffer.from(await response.body.arrayBuffer());
  return { status: response.statusCode, headers: response.headers, body };
}

/** The hub is silent, but has stated what app:v1 means, and the manifest may be had from peers. */
function outage(on: TestMirror, source: 'own' | 'peer' = 'own'): Digest {
  on.hub.down = true;
  const digest = on.content.put(BYTES);
  on.grants.granted.add(`app@${digest}`);
  on.tags.stated.set('app:v1', { digest, timeMs: on.clock.nowMs - 1, source });
  return digest;
}

async function staleAnswers(on: TestMirror, source: string): Promise<number> {
  const metric = await on.metrics.registry
    .getSingleMetric('flotilla_agent_mirror_stale_tags_total')
    ?.get();
  return metric?.values.find(({ labels }) => labels['source'] === source)?.value ?? 0;
}

test('with the hub silent a tag means what it last stated, with a warning', async () => {
  await using on = await startTestMirror();
  const digest = outage(on, 'peer');
  for (const method of ['HEAD', 'GET'] as const) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    const got = await get(`${on.url}/v2/app/manifests/v1?ns=hub.example`, method);
    assert.equal(got.status, 200);
    assert.equal(got.headers['warning'], WARNING);
    assert.equal(got.headers['docker-content-digest'], digest);
    assert.equal(got.headers['content-type'], MANIFEST_TYPE);
    assert.deepEqual(got.body, method === 'GET' ? BYTES : Buffer.alloc(0));
  }
  assert.equal(await staleAnswers(on, 'peer'), 2);
  const byDigest = await get(`${on.url}/v2/app/manifests/${digest}`);
  assert.equal(byDigest.headers['warning'], undefined, 'a digest is never stale');
});

test('a hub that hangs is not waited for beyond the time that an answer has', async () => {
  await using on = await startTestMirror({ headersTimeout: 400 });
  outage(on);
  on.hub.hangs = true;
  const got = await get(`${on.url}/v2/app/manifests/v1`);
  assert.deepEqual([got.status, got.headers['warning']], [200, WARNING]);
});

/** What the hub has made of app:v1 since its last statement. */
function moved(on: TestMirror): Digest {
  on.hub.down = false;
  return on.hub.putManifest('app', 'v1', manifestOf([Buffer.from('new layer')]), MANIFEST_TYPE);
}

test('the answer of a slow hub counts, however much of a stale one is there', async () => {
  await using on = await startTestMirror({ headersTimeout: 2_000 });
  outage(on);
  const digest = moved(on);
  const slow = Promise.withResolvers<void>();
  on.hub.gate = slow.promise;
  on.content.manifest = async () => {
    slow.resolve();
    return BYTES;
  };
  const got = await get(`${on.url}/v2/app/manifests/v1`);
  assert.deepEqual(
    [got.status, got.headers['warning'], got.headers['docker-content-digest']],
    [200, undefined, digest],
  );
  assert.equal(on.tags.asked, 1);
  assert.equal(await staleAnswers(on, 'own'), 0);
});

test('a hub that is busy is asked again', async () => {
  await using on = await startTestMirror();
  outage(on);
  const digest = moved(on);
  on.hub.busyCalls = 1;
  const got = await get(`${on.url}/v2/app/manifests/v1`);
  assert.deepEqual(
    [got.status, got.headers['warning'], got.headers['docker-content-digest']],
    [200, undefined, digest],
  );
});

test('a hub that stays busy, or says so from before it, leaves its statement', async () => {
  await using on = await startTestMirror({ headersTimeout: 400 });
  outage(on);
  on.hub.busyCalls = 1_000;
  for (const online of [true, false]) {
    on.tags.online = online;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const got = await get(`${on.url}/v2/app/manifests/v1`);
    assert.deepEqual([got.status, got.headers['warning']], [200, WARNING]);
  }
});

test('whatever the hub answers counts, not what it stated before', async () => {
  const answers: [string, number, (on: TestMirror) => void][] = [
    ['no such tag', 404, () => {}],
    ['wrong credentials', 401, (on) => void (on.hub.challenge = 'Bearer realm="https://a/t"')],
    ['something that is no manifest', 503, (on) => void (on.hub.downReason = 'source')],
  ];
  for (const [what, status, make] of answers) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    await using on = await startTestMirror();
    outage(on);
    on.hub.down = status === 503;
    make(on);
    // oxlint-disable-next-line no-await-in-loop -- in order
    const got = await get(`${on.url}/v2/app/manifests/v1`);
    assert.deepEqual([got.status, got.headers['warning']], [status, undefined], what);
    assert.equal(on.tags.asked, 0);
  }
});

test('a hub that cannot ask its upstream, and says so, is not asked again', async () => {
  await using on = await startTestMirror();
  outage(on);
  on.hub.downReason = 'upstream';
  for (const [method, tag] of [
    ['HEAD', 'v1'],
    ['GET', 'v2'],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    const got = await get(`${on.url}/v2/app/manifests/${tag}`, method);
    assert.equal(got.status, 503);
  }
  assert.equal(on.hub.calls.length, 2);
  assert.equal(on.tags.asked, 0, 'what it knew of the tag is older than it may be');
});

test('what the hub answers is heard, so that its statement can be had', async () => {
  await using on = await startTestMirror();
  const digest = on.hub.putManifest('app', 'v1', MANIFEST, MANIFEST_TYPE);
  await get(`${on.url}/v2/app/manifests/v1`, 'HEAD');
  await get(`${on.url}/v2/app/manifests/v1`);
  await get(`${on.url}/v2/app/manifests/none`);
  on.hub.down = true;
  await get(`${on.url}/v2/app/manifests/none`);
  assert.deepEqual(on.tags.heard, [
    { tag: 'v1', digest },
    { tag: 'v1', digest },
    { tag: 'none', digest: undefined },
  ]);
});

test('without a statement, or with an age of 0 configured, there is no answer', async () => {
  await using on = await startTestMirror();
  outage(on);
  assert.equal((await get(`${on.url}/v2/app/manifests/v2`)).status, 503);
  await using never = await startTestMirror({ staleTagMaxAge: 0 });
  outage(never);
  assert.equal((await get(`${never.url}/v2/app/manifests/v1`)).status, 503);
  assert.equal(never.tags.asked, 0);
  never.hub.down = false;
  assert.equal((await get(`${never.url}/v2/app/manifests/v1`)).status, 404);
  assert.deepEqual(never.tags.heard, [], 'nor is a statement asked for');
});

test('a statement gives no right to what it names', async () => {
  await using on = await startTestMirror();
  outage(on);
  on.grants.granted.clear();
  assert.equal((await get(`${on.url}/v2/app/manifests/v1`)).status, 503);
  assert.equal(await staleAnswers(on, 'own'), 0);
});

test('a hub that is back is asked at once', async () => {
  await using on = await startTestMirror({ staleTagMaxAge: HOUR_MS });
  outage(on);
  on.tags.online = false;
  assert.equal((await get(`${on.url}/v2/app/manifests/v1`)).headers['warning'], WARNING);
  on.hub.down = false;
  const now = manifestOf([Buffer.from('another layer')]);
  const digest = on.hub.putManifest('app', 'v1', now, MANIFEST_TYPE);
  const got = await get(`${on.url}/v2/app/manifests/v1`);
  assert.equal(got.headers['warning'], undefined);
  assert.equal(got.headers['docker-content-digest'], digest);
});
