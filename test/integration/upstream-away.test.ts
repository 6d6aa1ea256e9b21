import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../rig/until.ts';
import { metricsOf } from './loopback-fleet.ts';
import { assertAway, UpstreamFleet, WARNING } from './upstream-rig.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const TTL = { freshness: 'ttl', ttl: '10m' };

test('a pull through an agent within the time of its tag asks the upstream nothing', async (t) => {
  const on = await UpstreamFleet.start(t, TTL);
  const image = on.offer('library/app', 'v1', ['amd64', 'arm64']);
  await on.pull(image, 'v1');
  const { manifests, requests } = on.upstream.report();
  assert.deepEqual(manifests[image.digest], { gets: 1, heads: 1, unchanged: 0 });
  on.pass(10 * MINUTE_MS - 1);
  await on.pull(image, 'v1');
  assert.equal((await on.ask('GET', 'library/app/manifests/v1')).status, 200);
  assert.equal((await on.askHub('HEAD', 'library/app/manifests/v1')).status, 200);
  assert.equal(on.upstream.report().requests, requests);
  on.pass(1);
  await on.pull(image, 'v1');
  assert.deepEqual(on.upstream.report().manifests[image.digest], {
    gets: 1,
    heads: 2,
    unchanged: 1,
  });
});

test('a node that pulled once knows the tag when upstream and hub are gone', async (t) => {
  const on = await UpstreamFleet.start(t, {});
  const image = on.offer('library/app', 'v1');
  await on.pull(image, 'v1');
  await until('the statement of the tag', 20_000, async () => {
    on.pass(50);
    const snapshot = await metricsOf(on.agent.opsUrls[0]);
    return snapshot.sum('flotilla_agent_tag_statements') === 1 ? true : undefined;
  });
  await on.stopUpstream();
  await on.fleet.stopHub();
  assert.equal((await on.pull(image, 'v1')).headers['warning'], WARNING);
});

test('an upstream is gone for an hour, and for longer than tags may be stale', async (t) => {
  const on = await UpstreamFleet.start(t, { ...TTL, staleMaxAge: '2h' });
  const image = on.offer('library/app', 'v1');
  const other = on.offer('library/other', 'v1');
  await on.pull(image, 'v1');
  await on.stopUpstream();
  on.pass(10 * MINUTE_MS);
  const before = await on.sent();
  for (let minute = 10; minute < 60; minute += 1) {
    const { headers } = await on.pull(image, 'v1');
    assert.equal(headers['warning'], WARNING);
    const atHub = await on.askHub('GET', 'library/app/manifests/v1');
    assert.deepEqual([atHub.status, atHub.headers['warning']], [200, WARNING]);
    for (const method of ['HEAD', 'GET'] as const) {
      assertAway(await on.ask(method, 'library/other/manifests/v1'), /asked again/);
      assertAway(await on.ask(method, `library/other/manifests/${other.digest}`), /asked again/);
    }
    on.pass(MINUTE_MS);
  }
  const probes = (await on.sent()) - before;
  assert.ok(probes >= 8 && probes <= 30, `${probes} requests in 50 minutes`);
  const metrics = await on.metrics();
  assert.ok(metrics.sum('flotilla_hub_upstream_tags_total', { answer: 'stale' }) >= 100);
  assert.equal(metrics.sum('flotilla_hub_upstream_breaker_state') > 0, true);
  on.pass(HOUR_MS + 1);
  assertAway(await on.ask('HEAD', 'library/app/manifests/v1'), /asked again/);
  assertAway(await on.ask('GET', 'library/app/manifests/v1'), /asked again/);
  const byDigest = await on.ask('GET', `library/app/manifests/${image.digest}`);
  assert.equal(byDigest.status, 200, byDigest.text);
  await on.restartUpstream();
  // The longest that it is left alone.
  on.pass(5 * MINUTE_MS);
  assert.equal((await on.pull(image, 'v1')).headers['warning'], undefined);
  await on.pull(other, 'v1');
});

for (const [who, others] of [
  ['this hub', 0],
  ['others behind its address', 5],
] as const) {
  test(`${who} used up the pulls in the middle of an image, which goes on later`, async (t) => {
    const limit = { pulls: 2, windowSeconds: 3600 };
    const told = { ...limit, pulls: limit.pulls + others };
    const on = await UpstreamFleet.start(t, TTL, { anonymousLimit: told });
    const image = on.offer('library/app', 'v1', ['amd64', 'arm64']);
    const [first = assert.fail(), second = assert.fail()] = image.manifests;
    await on.pull(image, 'v1');
    on.upstream.anonymousLimit = limit;
    const rest = `library/app/manifests/${second.digest}`;
    for (let n = 0; n < 3; n += 1) assertAway(await on.ask('GET', rest), /no more pulls until/);
    assert.equal(on.upstream.report().limited, others > 0 ? 1 : 0, 'it is not asked in vain');
    await on.pull(image, 'v1');
    for (const { digest } of first.layers) {
      assert.equal((await on.askHub('GET', `library/app/blobs/${digest}`)).status, 200);
    }
    const other = on.offer('library/other', 'v1');
    assertAway(await on.ask('GET', 'library/other/manifests/v1'), /no more pulls until/);
    on.pass(HOUR_MS);
    assert.equal((await on.ask('GET', rest)).status, 200);
    for (const { digest } of [second.config, ...second.layers]) {
      assert.equal((await on.ask('GET', `library/app/blobs/${digest}`)).status, 200);
    }
    await on.pull(other, 'v1');
  });
}
