import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { TestRegistry } from '../registry/registry-fixture.ts';
import { assertRefused } from '../registry/registry-fixture.ts';
import type { UpstreamPolicy } from './port.ts';
import { Origin, OCI_INDEX, startPullHub } from './pull-fixture.ts';

const HOUR_MS = 3_600_000;
const TAG = '/v2/docker.io/library/app/manifests/latest';

class Clock {
  ms = 1_700_000_000_000;
  readonly now = (): number => this.ms;
}

type Rig = { origin: Origin; hub: TestRegistry; clock: Clock };

async function rig(t: TestContext, policy: Partial<UpstreamPolicy> = {}): Promise<Rig> {
  const origin = await Origin.start(t, 'docker.io', policy);
  const clock = new Clock();
  const { hub } = await startPullHub(t, [origin], { now: clock.now });
  return { origin, hub, clock };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function pulled(hub: TestRegistry): Promise<{ digest: unknown; isStale: boolean }> {
  const { status, headers, body } = await hub.ask(TAG);
  assert.equal(status, 200, body.toString());
  const { warning } = headers;
  assert.ok(warning === undefined || warning === '110 - "Response is Stale"');
  return { digest: headers['docker-content-digest'], isStale: warning !== undefined };
}

test('a tag is compared at each pull by HEAD, and fetched when it has moved', async (t) => {
  const { origin, hub } = await rig(t);
  const { manifest: first } = origin.putImage('library/app', 'latest');
  for (let i = 0; i < 3; i += 1) {
    assert.deepEqual(await pulled(hub), { digest: first, isStale: false });
  }
  assert.equal(origin.count('HEAD', 'manifests/latest'), 3);
  assert.equal(origin.count('GET', 'manifests'), 1);
  const { manifest: second } = origin.putImage('library/app', 'latest', Buffer.from('new'));
  assert.equal((await pulled(hub)).digest, second);
  assert.equal(origin.count('GET', 'manifests'), 2);
  assert.equal((await hub.ask(`/v2/docker.io/app/manifests/${first}`)).status, 200);
  assert.equal(origin.count('GET', 'manifests'), 2, 'a digest is asked for once');
  assert.equal(await hub.metric('upstream_manifests_total'), 2);
  assert.equal(await hub.metric('upstream_pulls_avoided_total'), 3);
});

test('within its time a tag costs the upstream nothing', async (t) => {
  const { origin, hub, clock } = await rig(t, { freshness: { kind: 'ttl', ms: HOUR_MS } });
  const { manifest } = origin.putImage('library/app', 'latest');
  await pulled(hub);
  const asked = origin.asked.length;
  const { manifest: second } = origin.putImage('library/app', 'latest', Buffer.from('new'));
  clock.ms += HOUR_MS - 1;
  assert.deepEqual(await pulled(hub), { digest: manifest, isStale: false });
  assert.equal(origin.asked.length, asked);
  assert.equal(await hub.metric('upstream_tags_total{upstream="docker.io",answer="fresh"}'), 1);
  clock.ms += 1;
  assert.deepEqual(await pulled(hub), { digest: second, isStale: false });
});

test('a pinned tag is never asked for again', async (t) => {
  const { origin, hub, clock } = await rig(t, { freshness: { kind: 'pinned' } });
  const { manifest } = origin.putImage('library/app', 'latest');
  await pulled(hub);
  const asked = origin.asked.length;
  origin.putImage('library/app', 'latest', Buffer.from('new'));
  clock.ms += 10_000 * HOUR_MS;
  assert.deepEqual(await pulled(hub), { digest: manifest, isStale: false });
  assert.equal(origin.asked.length, asked);
});

for (const status of [429, 500, 503]) {
  test(`a tag is answered stale for a while when the upstream says ${status}`, async (t) => {
    const { origin, hub, clock } = await rig(t, { staleMaxAgeMs: HOUR_MS });
    const { manifest } = origin.putImage('library/app', 'latest');
    await pulled(hub);
    origin.status = status;
    clock.ms += HOUR_MS;
    assert.deepEqual(await pulled(hub), { digest: manifest, isStale: true });
    assert.equal(await hub.metric('upstream_tags_total{upstream="docker.io",answer="stale"}'), 1);
    clock.ms += 1;
    const refused = await hub.ask(TAG);
    assertRefused(refused, 503, 'UNAVAILABLE');
    assert.match(refused.body.toString(), /docker\.io gives no usable answer.*from \d{4}-/);
    assert.equal(refused.headers['retry-after'], '10');
    const head = await hub.ask(TAG, { method: 'HEAD' });
    assert.equal(head.status, 503);
    assert.match(String(head.headers['flotilla-upstream-away']), /^docker\.io gives no usable/);
    assert.equal((await hub.ask(`/v2/docker.io/app/manifests/${manifest}`)).status, 200);
    origin.status = undefined;
    assert.deepEqual(await pulled(hub), { digest: manifest, isStale: false });
  });
}

test('many who want a tag at once cost one HEAD and one pull', async (t) => {
  const { origin, hub } = await rig(t);
  origin.putImage('library/app', 'latest');
  const all = Promise.withResolvers<void>();
  origin.gate = all.promise;
  const pulls = Array.from({ length: 20 }, () => pulled(hub));
  while ((await hub.metric('requests_in_flight')) < 20) await turn();
  for (let i = 0; i < 100; i += 1) await turn();
  all.resolve();
  await Promise.all(pulls);
  assert.equal(origin.count('HEAD', 'manifests'), 1);
  assert.equal(origin.count('GET', 'manifests'), 1);
});

test('an upstream that tells no digest before is asked for the manifest itself', async (t) => {
  const { origin, hub } = await rig(t);
  origin.tellsDigest = false;
  const { manifest } = origin.putImage('library/app', 'latest');
  assert.equal((await pulled(hub)).digest, manifest);
  assert.equal((await pulled(hub)).digest, manifest);
  assert.equal(origin.count('GET', 'manifests'), 1, 'its entity tag says that it is unchanged');
});

test('a name that is not there is not asked for again for a while', async (t) => {
  const { origin, hub, clock } = await rig(t, { negativeMs: 1000 });
  origin.putImage('library/app', 'other');
  assertRefused(await hub.ask(TAG), 404, 'MANIFEST_UNKNOWN');
  origin.putImage('library/app', 'latest');
  assertRefused(await hub.ask(TAG), 404, 'MANIFEST_UNKNOWN');
  assert.equal(origin.count('HEAD', 'latest'), 1);
  clock.ms += 1001;
  await pulled(hub);
});

test('a name that is asked for all the time is found as soon as it is there', async (t) => {
  const { origin, hub, clock } = await rig(t, { negativeMs: 1000 });
  assertRefused(await hub.ask(TAG), 404, 'MANIFEST_UNKNOWN');
  origin.putImage('library/app', 'latest');
  for (let i = 0; i < 2; i += 1) {
    clock.ms += 500;
    assertRefused(await hub.ask(TAG), 404, 'MANIFEST_UNKNOWN');
  }
  clock.ms += 1;
  await pulled(hub);
});

test('a tag that is gone upstream is kept, or goes, as the policy says', async (t) => {
  for (const onDeleted of ['keep', 'remove'] as const) {
    const { origin, hub } = await rig(t, { onDeleted });
    const { manifest } = origin.putImage('library/app', 'latest');
    await pulled(hub);
    origin.dropTag('library/app', 'latest');
    if (onDeleted === 'keep') {
      assert.deepEqual(await pulled(hub), { digest: manifest, isStale: true });
    } else {
      assertRefused(await hub.ask(TAG), 404, 'MANIFEST_UNKNOWN');
      origin.status = 503;
      assertRefused(await hub.ask(TAG), 503, 'UNAVAILABLE');
    }
    assert.equal((await hub.ask(`/v2/docker.io/app/manifests/${manifest}`)).status, 200);
  }
});

test('HEAD of what nobody pulled costs no pull', async (t) => {
  const { origin, hub } = await rig(t);
  const { manifest, layer } = origin.putImage('library/app', 'latest');
  for (const reference of ['latest', manifest]) {
    const head = await hub.ask(`/v2/docker.io/app/manifests/${reference}`, { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.headers['docker-content-digest'], manifest);
    assert.ok(Number(head.headers['content-length']) > 100);
  }
  const blob = await hub.ask(`/v2/docker.io/app/blobs/${layer}`, { method: 'HEAD' });
  assert.equal(blob.headers['content-length'], String(1024 * 1024));
  assert.equal(origin.count('GET', ''), 0);
});

test('a page that is no manifest is refused and not kept', async (t) => {
  const { origin, hub } = await rig(t);
  origin.tellsDigest = false;
  origin.putManifest('library/app', 'latest', {}, 'text/html');
  assertRefused(await hub.ask(TAG), 503, 'UNAVAILABLE');
  assert.equal(await hub.catalog.manifest('docker.io/library/app', { tag: 'latest' }), undefined);
});

test('an index stays as it is, its platforms come one by one', async (t) => {
  const { origin, hub } = await rig(t);
  const children = ['amd64', 'arm64'].map((architecture) => {
    const { manifest } = origin.putImage('library/app', '', Buffer.from(architecture));
    const platform = { os: 'linux', architecture };
    return {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: manifest,
      size: 1,
      platform,
    };
  });
  const index = origin.putManifest('library/app', 'latest', { manifests: children }, OCI_INDEX);
  assert.equal((await pulled(hub)).digest, index);
  assert.equal((await hub.ask(`/v2/docker.io/app/manifests/${children[0]?.digest}`)).status, 200);
  assert.equal(origin.count('GET', 'manifests'), 2, 'nobody asked for the other platform');
  const again = await hub.ask(`/v2/docker.io/app/manifests/${index}`);
  assert.equal(again.headers['docker-content-digest'], index);
});

test("tags and referrers are the upstream's, and while it is away what is known", async (t) => {
  const { origin, hub } = await rig(t);
  const { manifest } = origin.putImage('library/app', 'latest');
  origin.putImage('library/app', 'v1', Buffer.from('v1'));
  const subject = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: manifest,
    size: 1,
  };
  const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest: manifest, size: 2 };
  const signature = origin.putManifest('library/app', '', { config, layers: [], subject });
  await pulled(hub);
  const list = async (what: string) =>
    JSON.parse((await hub.ask(`/v2/docker.io/app/${what}`)).body.toString());
  assert.deepEqual((await list('tags/list')).tags, ['latest', 'v1']);
  assert.deepEqual((await list('tags/list?n=1')).tags, ['latest']);
  assert.deepEqual((await list('tags/list?last=latest')).tags, ['v1']);
  const { manifests } = await list(`referrers/${manifest}`);
  assert.deepEqual(
    manifests.map((one: { digest: string }) => one.digest),
    [signature],
  );
  assert.ok(manifests[0].size > 100);
  origin.status = 503;
  assert.deepEqual((await list('tags/list')).tags, ['latest']);
  assertRefused(await hub.ask('/v2/docker.io/other/tags/list'), 503, 'UNAVAILABLE');
});
