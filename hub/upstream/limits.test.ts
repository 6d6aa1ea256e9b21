import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf } from '../../proto/distribution/test-registry.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { BUDGET_TELL_MS } from './constants.ts';
import type { Upstream, Urgency } from './port.ts';
import { BLOB, BLOB_DIGEST, CountingRegistry, INTERACTIVE, LATEST } from './upstream-fixture.ts';
import { REMOTE, retryAtOf, SCHEDULED, upstreamRig, userOf } from './upstream-fixture.ts';

const HOUR_MS = 3_600_000;
const COUNTED = { limit: 10, windowMs: 10 * HOUR_MS };
const ACCOUNTS = ['ada', 'bob'].map((username) => ({ username, password: 'secret' }));

/** Pulls until the upstream lets no more through, at most 100. */
async function pullAll(upstream: Upstream, urgency: Urgency = 'interactive'): Promise<number> {
  for (let pulls = 0; pulls < 100; pulls += 1) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await upstream.getManifest(REMOTE, LATEST, { urgency });
    } catch (err) {
      if (hasCode(err, 'RATE_LIMITED')) return pulls;
      throw err;
    }
  }
  return 100;
}

test('an upstream is asked for as many manifests as it lets be, for none in vain', async (t) => {
  const registry = new CountingRegistry(COUNTED);
  const { upstream, registry: server, clock, metric } = await upstreamRig(t, registry.answer);
  assert.equal(await pullAll(upstream), 10);
  const sent = server.requests.length;
  const nowMs = clock.ms;
  const asked = upstream.getManifest(REMOTE, LATEST, INTERACTIVE);
  await assert.rejects(asked, (err) => {
    assert.ok(hasCode(err, 'RATE_LIMITED') && err instanceof Error);
    assert.match(err.message, /^docker\.io lets this hub pull nothing more until 20\d\d-.*Z$/);
    const retryAtMs = retryAtOf(err);
    assert.ok(retryAtMs > nowMs && retryAtMs <= nowMs + HOUR_MS);
    return true;
  });
  assert.equal(server.requests.length, sent, 'nothing is sent for nothing');
  assert.equal(await metric('upstream_requests_total', 'result="limited"'), 0);
  assert.ok((await metric('upstream_pulls_left')) < 0.01);
  assert.ok((await metric('upstream_refill_seconds')) > 35_900);
  const blob = await upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  assert.deepEqual(await bytesOf(blob?.body), BLOB, 'layers are not counted');
});

test('a HEAD costs nothing and tells what is left', async (t) => {
  const registry = new CountingRegistry(COUNTED);
  registry.pulls.set('', 7);
  const { upstream, metric } = await upstreamRig(t, registry.answer);
  for (let i = 0; i < 20; i += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await upstream.headManifest(REMOTE, LATEST, INTERACTIVE);
  }
  assert.equal(registry.pulls.get(''), 7);
  assert.equal(await pullAll(upstream), 3);
  assert.equal(await metric('upstream_withheld_total', 'budget'), 1);
});

test('pulls come in as the upstream says, at once when its window ends', async (t) => {
  const registry = new CountingRegistry(COUNTED);
  const { upstream, clock } = await upstreamRig(t, registry.answer);
  assert.equal(await pullAll(upstream), 10);
  registry.pulls.set('', 9);
  clock.ms += HOUR_MS;
  assert.equal(await pullAll(upstream), 1);
  registry.pulls.clear();
  clock.ms += 2 * 60_000;
  assert.equal(await pullAll(upstream), 10, 'long before they would have come in one by one');
});

test('pulls on their way count, though the upstream has not counted them', async (t) => {
  const registry = new CountingRegistry({ limit: 3, windowMs: HOUR_MS * 3 });
  const { upstream, clock } = await upstreamRig(t, registry.answer);
  const head = () => upstream.headManifest(REMOTE, LATEST, INTERACTIVE);
  const pull = () => upstream.getManifest(REMOTE, LATEST, INTERACTIVE);
  await head();
  const begun = Promise.withResolvers<void>();
  const held: (() => void)[] = [];
  registry.instead = (request, response) => {
    if (request.method !== 'GET') return false;
    held.push(() => registry.answer(request, response));
    if (held.length >= 2) begun.resolve();
    return true;
  };
  const running = [pull(), pull()];
  await begun.promise;
  clock.ms += BUDGET_TELL_MS;
  await head();
  registry.instead = () => false;
  await pull();
  await assert.rejects(pull(), { code: 'RATE_LIMITED' });
  for (const answer of held) answer();
  assert.equal((await Promise.all(running)).length, 2);
  assert.equal(registry.pulls.get(''), 3);
});

test('planned work leaves a part of the pulls to runtimes', async (t) => {
  const registry = new CountingRegistry(COUNTED);
  const { upstream } = await upstreamRig(t, registry.answer, { settings: { reserve: 30 } });
  await upstream.headManifest(REMOTE, LATEST, SCHEDULED);
  assert.equal(await pullAll(upstream, 'scheduled'), 7);
  assert.equal(await pullAll(upstream, 'interactive'), 3);
});

test('a limit of our own holds where the upstream has none', async (t) => {
  const settings = { rateLimit: { pulls: 5, window: '1h' } };
  const registry = new CountingRegistry({ limit: 1000, windowMs: HOUR_MS });
  const { upstream, replica } = await upstreamRig(t, registry.answer, { settings });
  assert.equal(await pullAll(upstream), 5);
  assert.equal(await pullAll(await replica()), 0, 'of all hubs together');
});

test('of several accounts the one with most left pulls, until none has any', async (t) => {
  const registry = new CountingRegistry({ ...COUNTED, accounts: true });
  registry.pulls.set('ada', 6);
  const settings = { credentials: ACCOUNTS };
  const { upstream, registry: server } = await upstreamRig(t, registry.answer, { settings });
  assert.equal(await pullAll(upstream), 14);
  const users = server.requests
    .map(({ headers }) => userOf(headers.authorization))
    .filter((user) => user !== '');
  assert.deepEqual(users.slice(0, 2).toSorted(), ['ada', 'bob'], 'both are unknown at first');
  assert.deepEqual(users.slice(2, 7), ['bob', 'bob', 'bob', 'bob', 'bob']);
  assert.deepEqual([...registry.pulls.values()], [10, 10]);
});

test('a refusal of one account moves on to the next, and is remembered', async (t) => {
  const registry = new CountingRegistry({ ...COUNTED, accounts: true });
  const settings = { credentials: ACCOUNTS };
  const { upstream, registry: server, clock } = await upstreamRig(t, registry.answer, { settings });
  registry.instead = ({ headers }, response) => {
    if (userOf(headers.authorization) !== 'ada') return false;
    response.writeHead(429, { 'retry-after': '600' }).end();
    return true;
  };
  const manifest = await upstream.getManifest(REMOTE, LATEST, INTERACTIVE);
  assert.ok(manifest);
  const before = server.requests.length;
  await upstream.getManifest(REMOTE, LATEST, INTERACTIVE);
  assert.equal(server.requests.length - before, 1, 'the refused one is left alone');
  registry.instead = () => false;
  clock.ms += 600_000;
  assert.equal(await pullAll(upstream), 18);
});

test('accounts that the upstream counts together are counted so here', async (t) => {
  const registry = new CountingRegistry({ ...COUNTED, accounts: true, source: () => 'team' });
  const { upstream, metric } = await upstreamRig(t, registry.answer, {
    settings: { credentials: ACCOUNTS },
  });
  assert.equal(await pullAll(upstream), 10);
  assert.equal(await metric('upstream_requests_total', 'result="limited"'), 0);
});

test('what one hub learns the others know', async (t) => {
  const registry = new CountingRegistry({ ...COUNTED, source: () => '192.0.2.1' });
  const { upstream, registry: server, replica } = await upstreamRig(t, registry.answer);
  const other = await replica();
  assert.equal(await pullAll(upstream), 10);
  const sent = server.requests.length;
  assert.equal(await pullAll(other), 0);
  const more = server.requests.slice(sent).map(({ method }) => method);
  assert.ok(
    more.every((method) => method === 'HEAD'),
    'it asks for the count at most',
  );
  assert.equal(registry.pulls.get('192.0.2.1'), 10);
});

test('hubs behind other addresses have pulls of their own', async (t) => {
  const at = { address: 'first' };
  const registry = new CountingRegistry({ ...COUNTED, source: () => at.address });
  const { upstream, clock, replica } = await upstreamRig(t, registry.answer);
  assert.equal(await pullAll(upstream), 10);
  at.address = 'second';
  clock.ms += 2 * 60_000;
  assert.equal(await pullAll(await replica()), 10);
  at.address = 'first';
  assert.equal(await pullAll(upstream), 0);
});

test('an upstream that says when to come back is left alone until then', async (t) => {
  const registry = new CountingRegistry(COUNTED);
  const { upstream, registry: server, clock } = await upstreamRig(t, registry.answer);
  registry.instead = (_request, response) => {
    response.writeHead(429, { 'retry-after': '120' }).end();
    return true;
  };
  const retryAtMs = clock.ms + 120_000;
  const data = { code: 'RATE_LIMITED', upstream: 'docker.io', retryAtMs };
  const blob = upstream.headBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  await assert.rejects(blob, { data });
  const manifest = upstream.headManifest(REMOTE, LATEST, INTERACTIVE);
  await assert.rejects(manifest, { data });
  assert.equal(server.requests.length, 1);
  registry.instead = () => false;
  clock.ms = retryAtMs;
  assert.ok(await upstream.headManifest(REMOTE, LATEST, INTERACTIVE));
});

test('who has no pulls left still gets layers, who asks too much gets nothing', async (t) => {
  const registry = new CountingRegistry(COUNTED);
  registry.pulls.set('', 10);
  const { upstream, clock } = await upstreamRig(t, registry.answer);
  const left = { pulls: 0 };
  registry.instead = ({ url = '' }, response) => {
    if (!url.includes('/manifests/')) return false;
    response.setHeader('ratelimit-limit', '10;w=36000');
    response.setHeader('ratelimit-remaining', `${left.pulls};w=36000`);
    response.writeHead(429).end();
    return true;
  };
  const head = () => upstream.headManifest(REMOTE, LATEST, INTERACTIVE);
  const layer = () => upstream.headBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  await assert.rejects(head(), { code: 'RATE_LIMITED' });
  await assert.rejects(upstream.getManifest(REMOTE, LATEST, INTERACTIVE), { code: 'RATE_LIMITED' });
  assert.ok(await layer());
  left.pulls = 5;
  clock.ms += HOUR_MS;
  await assert.rejects(head(), { code: 'RATE_LIMITED' });
  await assert.rejects(layer(), { code: 'RATE_LIMITED' });
});

test('refusals that say nothing are met with longer and longer rests', async (t) => {
  const registry = new CountingRegistry(COUNTED);
  const { upstream, clock } = await upstreamRig(t, registry.answer);
  registry.instead = (_request, response) => {
    response.writeHead(429).end();
    return true;
  };
  const rests: number[] = [];
  for (let i = 0; i < 8; i += 1) {
    const nowMs = clock.ms;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await upstream.headBlob(REMOTE, BLOB_DIGEST, INTERACTIVE).catch((err: unknown) => {
      const retryAtMs = retryAtOf(err);
      rests.push(retryAtMs - nowMs);
      clock.ms = retryAtMs;
    });
  }
  assert.equal(rests.length, 8);
  assert.deepEqual(
    rests,
    rests.toSorted((a, b) => a - b),
  );
  assert.ok((rests[0] ?? 0) >= 30_000 && (rests.at(-1) ?? 0) > 4 * 60_000);
  assert.ok((rests.at(-1) ?? 0) <= 16 * 60_000);
});
