import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { parseRepository, parseTag } from '../../proto/oci/name.ts';
import { assertRefused, TestRegistry } from '../registry/registry-fixture.ts';
import type { UpstreamPolicy } from './port.ts';
import { Origin, startPullHub } from './pull-fixture.ts';
import { ToldTags } from './told-tags.ts';

const HOUR_MS = 3_600_000;
const APP = '/v2/docker.io/library/app';
const TAG = `${APP}/manifests/latest`;
const TTL = { freshness: { kind: 'ttl', ms: HOUR_MS } } as const;

class Clock {
  ms = 1_700_000_000_000;
  readonly now = (): number => this.ms;
}

async function rig(t: TestContext, policy: Partial<UpstreamPolicy> = TTL) {
  const origin = await Origin.start(t, 'docker.io', policy);
  const clock = new Clock();
  const { hub } = await startPullHub(t, [origin], { now: clock.now });
  return { origin, hub, clock };
}

/** What HEAD says that a tag names. */
async function headOf(hub: TestRegistry, target = TAG): Promise<unknown> {
  const { status, headers } = await hub.ask(target, { method: 'HEAD' });
  assert.equal(status, 200);
  return headers['docker-content-digest'];
}

async function get(hub: TestRegistry, reference: string): Promise<void> {
  assert.equal((await hub.ask(`${APP}/manifests/${reference}`)).status, 200);
}

/** As containerd pulls: HEAD of the tag, GET of the digest, GET of each blob. */
async function pull(hub: TestRegistry, digest: string, blobs: readonly Digest[]): Promise<void> {
  assert.equal(await headOf(hub), digest);
  await get(hub, digest);
  for (const blob of blobs) {
    assert.equal((await hub.ask(`${APP}/blobs/${blob}`)).status, 200);
  }
}

test('a pull by HEAD and digest is a hit for a while, which counts from the HEAD', async (t) => {
  const { origin, hub, clock } = await rig(t);
  const { manifest, layer, config } = origin.putImage('library/app', 'latest');
  assert.equal(await headOf(hub), manifest);
  clock.ms += HOUR_MS / 2;
  assert.equal(await headOf(hub), manifest, 'asked again before it is pulled');
  await pull(hub, manifest, [layer, config]);
  assert.deepEqual(
    origin.asked.map(({ method }) => method),
    ['HEAD', 'GET', 'GET', 'GET'],
  );
  clock.ms += HOUR_MS / 2 - 1;
  await pull(hub, manifest, [layer, config]);
  await get(hub, 'latest');
  assert.equal(origin.asked.length, 4);
  assert.equal(await hub.metric('upstream_pulls_avoided_total'), 2, 'HEAD is no pull');
  clock.ms += 1;
  await headOf(hub);
  assert.equal(origin.asked.length, 5);
});

test('a client that goes on with GET of the tag costs no second HEAD', async (t) => {
  const { origin, hub } = await rig(t);
  origin.putImage('library/app', 'latest');
  await headOf(hub);
  await get(hub, 'latest');
  assert.deepEqual(
    origin.asked.map(({ method }) => method),
    ['HEAD', 'GET'],
  );
});

test('under always each pull asks, and what came by digest is there when it is away', async (t) => {
  const { origin, hub, clock } = await rig(t, {});
  const { manifest } = origin.putImage('library/app', 'latest');
  await pull(hub, manifest, []);
  origin.status = 503;
  clock.ms += HOUR_MS;
  const stale = await hub.ask(TAG, { method: 'HEAD' });
  assert.equal(stale.headers['warning'], '110 - "Response is Stale"');
  clock.ms += 1;
  assert.equal((await hub.ask(TAG, { method: 'HEAD' })).status, 503, 'older than it may be');
  origin.status = undefined;
  const asked = origin.count('HEAD', 'latest');
  for (let i = 1; i <= 2; i += 1) {
    await pull(hub, manifest, []);
    assert.equal(origin.count('HEAD', 'latest'), asked + i);
  }
});

test('all tags that were said to name a manifest do so when it has come', async (t) => {
  const { origin, hub } = await rig(t);
  const tags = ['latest', 'v1'].map(parseTag);
  const config = { mediaType: 'text/plain', digest: digestOf(Buffer.from('')), size: 0 };
  const [manifest = ''] = tags.map((tag) =>
    origin.putManifest('library/app', tag, { config, layers: [] }),
  );
  for (const tag of tags) await headOf(hub, `${APP}/manifests/${tag}`);
  await get(hub, manifest);
  const named = tags.map((tag) => hub.catalog.tagged('docker.io/library/app', tag));
  assert.deepEqual(await Promise.all(named), [manifest, manifest]);
});

test('a digest that is asked for late does not bring back what the tag named before', async (t) => {
  const { origin, hub, clock } = await rig(t, {});
  const { manifest: first } = origin.putImage('library/app', 'latest');
  await headOf(hub);
  clock.ms += 1;
  const { manifest: second } = origin.putImage('library/app', 'latest', Buffer.from('new'));
  assert.equal(await headOf(hub), second);
  await get(hub, first);
  assert.equal(await hub.catalog.manifest('docker.io/library/app', { tag: 'latest' }), undefined);
  await get(hub, second);
  const held = await hub.catalog.manifest('docker.io/library/app', { tag: 'latest' });
  assert.equal(held?.digest, second);
  await get(hub, first);
  assert.equal(await headOf(hub), second);
});

test('what a tag named is gone with its manifest: it is asked anew', async (t) => {
  const { origin, hub } = await rig(t);
  const { manifest: first } = origin.putImage('library/app', 'latest');
  assert.equal(await headOf(hub), first);
  const { manifest: second } = origin.putImage('library/app', 'latest', Buffer.from('new'));
  origin.dropTag('library/app', first);
  const { headers } = await hub.ask(TAG);
  assert.equal(headers['docker-content-digest'], second);
});

test('a tag that is gone before it is pulled is gone, however often it was told', async (t) => {
  const { origin, hub, clock } = await rig(t, { ...TTL, negativeMs: HOUR_MS });
  const { manifest } = origin.putImage('library/app', 'latest');
  await headOf(hub);
  origin.dropTag('library/app', 'latest');
  clock.ms += HOUR_MS;
  assertRefused(await hub.ask(TAG), 404, 'MANIFEST_UNKNOWN');
  await get(hub, manifest);
  assertRefused(await hub.ask(TAG), 404, 'MANIFEST_UNKNOWN');
  assert.equal(origin.count('HEAD', 'latest'), 2);
});

test('a tag that moved to what cannot be pulled now is answered as it was', async (t) => {
  const { origin, hub } = await rig(t, {});
  const { manifest: first } = origin.putImage('library/app', 'latest');
  await pull(hub, first, []);
  const { manifest: second } = origin.putImage('library/app', 'latest', Buffer.from('new'));
  origin.getStatus = 429;
  const { headers } = await hub.ask(TAG, { method: 'HEAD' });
  assert.equal(headers['docker-content-digest'], first);
  assert.equal(headers['warning'], '110 - "Response is Stale"');
  origin.getStatus = undefined;
  await pull(hub, second, []);
});

test('what came to one hub by its digest is the tag of another that asked', async (t) => {
  const origin = await Origin.start(t, 'docker.io', TTL);
  const clock = new Clock();
  const { now } = clock;
  const first = await startPullHub(t, [origin], { shared: true, holder: 'hub-1', now });
  const beside = { shared: true, holder: 'hub-2', beside: first.hub, now };
  const second = await startPullHub(t, [origin], beside);
  const { manifest } = origin.putImage('library/app', 'latest');
  assert.equal(await headOf(first.hub), manifest);
  await get(second.hub, manifest);
  origin.status = 503;
  clock.ms += HOUR_MS;
  const stale = await first.hub.ask(TAG, { method: 'HEAD' });
  assert.equal(stale.headers['warning'], '110 - "Response is Stale"');
  clock.ms -= 1;
  const asked = origin.asked.length;
  assert.equal(await headOf(first.hub), manifest);
  assert.equal(await headOf(second.hub), manifest);
  assert.equal(origin.asked.length, asked);
});

const REPOSITORY = parseRepository('docker.io/library/app');
const [A, B] = ['a', 'b'].map((text) => digestOf(Buffer.from(text)));

test('of several answers about a tag the last one asked for counts, in any order', () => {
  const heard = fc.record({
    tag: fc.constantFrom('x', 'y', 'z').map(parseTag),
    digest: fc.constantFrom(A, B).map((digest) => digest ?? assert.fail()),
    askedAtMs: fc.integer({ min: 0, max: 5 }),
  });
  fc.assert(
    fc.property(fc.array(heard, { maxLength: 12 }), (answers) => {
      const book = new ToldTags({ max: 2 });
      const model = new Map<string, (typeof answers)[number]>();
      for (const one of answers) {
        const told = { ...one, mediaType: 'm', size: 1, etag: undefined };
        book.add({ repository: REPOSITORY, tag: one.tag }, told);
        const known = model.get(one.tag);
        if (known !== undefined && known.askedAtMs > one.askedAtMs) continue;
        model.delete(one.tag);
        model.set(one.tag, one);
        for (const tag of [...model.keys()].slice(0, -2)) model.delete(tag);
      }
      for (const tag of ['x', 'y', 'z'].map(parseTag)) {
        assert.equal(book.get({ repository: REPOSITORY, tag })?.digest, model.get(tag)?.digest);
      }
      for (const digest of [A, B]) {
        if (digest === undefined) continue;
        const named = book.of(REPOSITORY, digest).map(({ tag }) => tag);
        const expected = [...model.values()].filter((one) => one.digest === digest);
        assert.deepEqual(named.toSorted(), expected.map(({ tag }) => tag).toSorted());
      }
    }),
    { numRuns: 100 },
  );
});
