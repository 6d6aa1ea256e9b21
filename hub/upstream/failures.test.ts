import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRegistry } from '../../proto/distribution/test-registry.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { Breaker } from './breaker.ts';
import { BREAKER_BASE_MS, BREAKER_FAILURES, BREAKER_MAX_MS } from './constants.ts';
import { BREAKER_TOLD_MAX_MS, SLOW_ANSWER_MS } from './constants.ts';
import { Slots } from './slots.ts';
import { BLOB_DIGEST, CountingRegistry, INTERACTIVE, LATEST } from './upstream-fixture.ts';
import { REMOTE, retryAtOf, SCHEDULED, TestClock, upstreamRig } from './upstream-fixture.ts';

const FREE = { limit: 1000, windowMs: 3_600_000 };

test('a failure that passes is not seen by who asked', async (t) => {
  const registry = new CountingRegistry(FREE);
  const { upstream, clock, metric } = await upstreamRig(t, registry.answer);
  const left = { failures: 1 };
  registry.instead = (_request, response) => {
    if (left.failures === 0) return false;
    left.failures -= 1;
    response.writeHead(502).end();
    return true;
  };
  assert.ok(await upstream.headManifest(REMOTE, LATEST, INTERACTIVE));
  left.failures = 2;
  assert.ok(await upstream.headManifest(REMOTE, LATEST, SCHEDULED));
  assert.equal(clock.slept.length, 3);
  assert.equal(await metric('upstream_requests_total', 'result="failed"'), 3);
});

test('an upstream that is away is left alone, tried by one request, and back', async (t) => {
  const registry = new CountingRegistry(FREE);
  const { upstream, registry: server, clock, metric } = await upstreamRig(t, registry.answer);
  registry.instead = (_request, response) => {
    response.socket?.destroy();
    return true;
  };
  const ask = () => upstream.headManifest(REMOTE, LATEST, INTERACTIVE);
  for (let i = 0; i < BREAKER_FAILURES; i += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(ask(), (err) => {
      assert.match(String(err), /docker\.io does not answer.*; it is asked again at 20/);
      return hasCode(err, 'UNAVAILABLE') && retryAtOf(err) > clock.ms;
    });
  }
  const sent = server.requests.length;
  assert.equal(sent, BREAKER_FAILURES);
  assert.equal(await metric('upstream_breaker_state'), 2);
  const err = await ask().catch((caught: unknown) => caught);
  assert.ok(err instanceof Error);
  const retryAtMs = retryAtOf(err);
  assert.ok(retryAtMs > clock.ms && retryAtMs <= clock.ms + BREAKER_BASE_MS);
  assert.match(err.message, /^docker\.io does not answer; it is asked again at 20\d\d-.*Z$/);
  assert.equal(server.requests.length, sent);
  clock.ms = retryAtMs;
  assert.equal(await metric('upstream_breaker_state'), 1);
  registry.instead = () => false;
  assert.ok(await ask());
  assert.equal(await metric('upstream_breaker_state'), 0);
});

test('an upstream that says for how long it is away is believed', async (t) => {
  const registry = new CountingRegistry(FREE);
  const { upstream, clock } = await upstreamRig(t, registry.answer);
  registry.instead = (_request, response) => {
    response.writeHead(503, { 'retry-after': '90' }).end();
    return true;
  };
  const retryAtMs = clock.ms + 90_000;
  const asked = upstream.headBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  await assert.rejects(asked, { data: { code: 'UNAVAILABLE', upstream: 'docker.io', retryAtMs } });
});

test('an upstream that says it is away for a day is tried before that', async (t) => {
  const registry = new CountingRegistry(FREE);
  const { upstream, clock } = await upstreamRig(t, registry.answer);
  registry.instead = (_request, response) => {
    response.writeHead(503, { 'retry-after': '86400' }).end();
    return true;
  };
  const ask = () => upstream.headManifest(REMOTE, LATEST, INTERACTIVE);
  await assert.rejects(ask(), { code: 'UNAVAILABLE' });
  registry.instead = () => false;
  clock.ms += BREAKER_TOLD_MAX_MS - 1;
  await assert.rejects(ask(), { code: 'UNAVAILABLE' });
  clock.ms += 1;
  assert.ok(await ask());
});

test('a host of layers that is busy says nothing of the registry', async (t) => {
  const busy = await testRegistry(t, (_request, response) => {
    response.writeHead(503, { 'retry-after': '3600' }).end();
  });
  const registry = new CountingRegistry(FREE);
  const settings = { redirectHosts: [busy.host], allowedNetworks: ['127.0.0.0/8'] };
  const { upstream } = await upstreamRig(t, registry.answer, { settings });
  registry.instead = ({ url = '' }, response) => {
    if (!url.includes('/blobs/')) return false;
    response.writeHead(307, { location: `${busy.url}/x` }).end();
    return true;
  };
  const layer = upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  await assert.rejects(layer, { code: 'UNAVAILABLE' });
  assert.ok(await upstream.headManifest(REMOTE, LATEST, INTERACTIVE));
});

test('an upstream that lets nobody in is not away', async (t) => {
  const registry = new CountingRegistry(FREE);
  const { upstream, metric } = await upstreamRig(t, registry.answer);
  for (const status of [401, 403]) {
    registry.instead = (_request, response) => {
      response.writeHead(status).end();
      return true;
    };
    for (let i = 0; i < 2 * BREAKER_FAILURES; i += 1) {
      const asked = upstream.headManifest(REMOTE, LATEST, INTERACTIVE);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await assert.rejects(asked, { data: { code: 'REFUSED', upstream: 'docker.io', status } });
    }
  }
  assert.equal(await metric('upstream_breaker_state'), 0);
});

test('who gives up gets his reason, and the upstream blame only for long silence', async (t) => {
  const registry = new CountingRegistry(FREE);
  const { upstream, clock, metric } = await upstreamRig(t, registry.answer);
  const reason = new Error('enough');
  const giveUpAfter = async (ms: number): Promise<void> => {
    const giving = new AbortController();
    registry.instead = () => {
      clock.ms += ms;
      giving.abort(reason);
      return true;
    };
    const { signal } = giving;
    const asked = upstream.headManifest(REMOTE, LATEST, { ...INTERACTIVE, signal });
    await assert.rejects(asked, reason);
  };
  for (let i = 0; i < BREAKER_FAILURES; i += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await giveUpAfter(SLOW_ANSWER_MS - 1);
  }
  assert.equal(await metric('upstream_breaker_state'), 0);
  for (let i = 0; i < BREAKER_FAILURES; i += 1) {
    // oxlint-disable-next-line no-await-in-loop
    await giveUpAfter(SLOW_ANSWER_MS);
  }
  assert.equal(await metric('upstream_breaker_state'), 2);
  clock.ms += BREAKER_BASE_MS;
  await giveUpAfter(0);
  assert.equal(await metric('upstream_breaker_state'), 1, 'a try that was given up says nothing');
  assert.equal(await metric('upstream_requests_total', 'result="aborted"'), 11);
});

test('a breaker rests longer each time, up to a limit, and lets one probe through', () => {
  const clock = new TestClock();
  const breaker = new Breaker(clock);
  for (let i = 0; i < BREAKER_FAILURES; i += 1) breaker.enter()?.failed();
  const rests: number[] = [];
  for (let i = 0; i < 10; i += 1) {
    rests.push(breaker.waitMs);
    assert.equal(breaker.enter(), undefined);
    clock.ms += breaker.waitMs;
    const probe = breaker.enter();
    assert.ok(probe);
    assert.equal(breaker.enter(), undefined, 'one at a time');
    probe.failed();
    probe.worked();
  }
  assert.deepEqual(
    rests,
    rests.toSorted((a, b) => a - b),
  );
  assert.ok(Math.max(...rests) <= BREAKER_MAX_MS);
  clock.ms += breaker.waitMs;
  breaker.enter()?.dropped();
  breaker.enter()?.worked();
  assert.equal(breaker.state, 'closed');
});

test('what runtimes wait for goes before what was planned, which never takes all', async () => {
  const slots = new Slots({ connections: 4, reserve: 25 });
  const { signal } = new AbortController();
  const planned = await Promise.all([1, 2, 3].map(() => slots.take('scheduled', signal)));
  const order: string[] = [];
  const late = slots.take('scheduled', signal).then((slot) => {
    order.push('planned');
    return slot;
  });
  const first = await slots.take('question', signal);
  const second = slots.take('question', signal).then((slot) => {
    order.push('waited for');
    return slot;
  });
  planned[0]?.[Symbol.dispose]();
  planned[0]?.[Symbol.dispose]();
  const slot = await second;
  assert.deepEqual([slots.used, slots.waiting], [4, 1]);
  slot[Symbol.dispose]();
  (await late)[Symbol.dispose]();
  assert.deepEqual(order, ['waited for', 'planned']);
  for (const one of [first, ...planned]) one[Symbol.dispose]();
  assert.equal(slots.used, 0);
});

test('who gives up while he waits for his turn leaves it to others', async () => {
  const slots = new Slots({ connections: 2, reserve: 0 });
  const { signal } = new AbortController();
  const held = await Promise.all([1, 2].map(() => slots.take('question', signal)));
  const giving = new AbortController();
  const given = slots.take('question', giving.signal);
  const next = slots.take('question', signal);
  giving.abort(new Error('enough'));
  await assert.rejects(given, /enough/);
  held[0]?.[Symbol.dispose]();
  await next;
  assert.deepEqual([slots.used, slots.waiting], [2, 0]);
});

test('layers on their way hold up no question about a tag', async (t) => {
  const registry = new CountingRegistry(FREE);
  const { upstream, registry: server } = await upstreamRig(t, registry.answer, {
    settings: { connections: 4 },
  });
  const open = Promise.withResolvers<void>();
  registry.instead = ({ url = '' }, response) => {
    if (!url.includes('/blobs/')) return false;
    response.writeHead(200, { 'content-length': 100 }).write('some');
    if (server.requests.length === 3) open.resolve();
    return true;
  };
  const giving = new AbortController();
  const { signal } = giving;
  const layers = Array.from({ length: 6 }, () =>
    upstream.openBlob(REMOTE, BLOB_DIGEST, { ...INTERACTIVE, signal }),
  );
  await open.promise;
  assert.ok(await upstream.headManifest(REMOTE, LATEST, INTERACTIVE));
  assert.ok(await upstream.headManifest(REMOTE, LATEST, INTERACTIVE));
  giving.abort(new Error('enough'));
  const ends = await Promise.allSettled(layers);
  assert.equal(ends.filter(({ status }) => status === 'fulfilled').length, 3);
});
