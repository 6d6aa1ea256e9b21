import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { postgresForTests } from '../rig/postgres.ts';
import { until } from '../rig/until.ts';
import { assertRefused, TestHub } from './test-hub.ts';

const RECOVERY_MS = 30_000;
const { skip, server: postgres } = postgresForTests();

async function startHub(t: TestContext): Promise<TestHub> {
  const server = await postgres();
  const url = server.url(await server.createDatabase());
  const hub = await TestHub.start({ catalog: { url, tls: 'off' } });
  t.after(() => hub[Symbol.asyncDispose]());
  return hub;
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

async function recovered(hub: TestHub): Promise<void> {
  await until('the hub is ready again', RECOVERY_MS, async () => {
    const { status } = await hub.ask(`${hub.opsUrl}/readyz`);
    return status === 200 ? true : undefined;
  });
}

test('a hub keeps what is pushed in PostgreSQL', { skip }, async (t) => {
  const hub = await startHub(t);
  const image = await hub.pushImage('v1', [randomBytes(5000)]);
  const pulled = await hub.ask('/v2/team/app/manifests/v1');
  assert.deepEqual(pulled.body, image.bytes);
  const tags = await hub.ask('/v2/team/app/tags/list');
  assert.deepEqual(JSON.parse(tags.body.toString()), { name: 'team/app', tags: ['v1'] });
  assert.match(await hub.hub.createJoinToken(), /^flotilla-join/);
});

test('text that PostgreSQL cannot hold is the name of nobody and nothing', { skip }, async (t) => {
  const hub = await startHub(t);
  const authorization = basic('eve', 'eve-password');
  await hub.api('POST', '/accounts', { name: 'eve', password: 'eve-password' });
  await hub.api('POST', '/projects', { name: 'open', visibility: 'public' });
  await hub.api('PUT', '/projects/open/members/eve', { role: 'admin' });
  const strange = { authorization: basic('eve\0', 'eve-password') };
  assertRefused(await hub.ask('/v2/', strange), 401, 'UNAUTHORIZED');
  assert.equal((await hub.ask('/api/token', strange)).status, 401);
  const token = '/api/token?offline_token=true&service=%00';
  assert.equal((await hub.ask(token, { authorization })).status, 200);
  const permissions = [{ repository: 'open/**', actions: ['pull'] }];
  const robot = { name: 'r', description: 'a\0', permissions };
  const asked = [
    await hub.api('GET', '/projects/%00', undefined, authorization),
    await hub.api('PUT', '/projects/open/members/%00', { role: 'guest' }, authorization),
    await hub.api('GET', '/projects?last=%00', undefined, authorization),
    await hub.api('POST', '/projects/open/robots', robot, authorization),
  ];
  assert.deepEqual(
    asked.map(({ status }) => status),
    [404, 404, 400, 400],
  );
});

test('without PostgreSQL every call is 503, with it again all goes on', { skip }, async (t) => {
  const hub = await startHub(t);
  const server = await postgres();
  const image = await hub.pushImage('v1', [randomBytes(5000)]);
  const location = await hub.open();
  await hub.api('POST', '/accounts', { name: 'eve', password: 'eve-password' });
  await server.stop();
  t.after(() => server.resume());
  const ready = await hub.ask(`${hub.opsUrl}/readyz`);
  assert.equal(ready.status, 503);
  assert.match(ready.body.toString(), /catalog: PostgreSQL/);
  const live = await hub.ask(`${hub.opsUrl}/healthz`);
  assert.equal(live.status, 200);
  for (const path of ['manifests/v1', `blobs/${image.digest}`, 'tags/list']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.ask(`/v2/team/app/${path}`);
    assertRefused(answer, 503, 'UNAVAILABLE');
    assert.ok(Number(answer.headers['retry-after']) > 0);
  }
  assertRefused(await hub.putManifest('v2', image.bytes), 503, 'UNAVAILABLE');
  const authorization = basic('eve', 'eve-password');
  const token = await hub.ask('/api/token?scope=repository:team/app:pull', { authorization });
  assertRefused(token, 503, 'UNAVAILABLE');
  const listed = await hub.api('GET', '/projects');
  assert.equal(listed.status, 503, listed.body.toString());
  for (const { headers } of [token, listed]) assert.ok(Number(headers['retry-after']) > 0);
  await server.resume();
  await recovered(hub);
  assert.deepEqual((await hub.ask('/v2/team/app/manifests/v1')).body, image.bytes);
  await hub.pushImage('v2', [randomBytes(5000)]);
  assert.equal((await hub.ask(location)).status, 204);
});

test('connections that PostgreSQL ends under way are replaced', { skip }, async (t) => {
  const hub = await startHub(t);
  const server = await postgres();
  const image = await hub.pushImage('v1', [randomBytes(5000)]);
  const end = new AbortController();
  const pulls = Array.from({ length: 8 }, async () => {
    const seen = new Set<number>();
    while (!end.signal.aborted) {
      // oxlint-disable-next-line no-await-in-loop -- one request after the other
      const answer = await hub.ask('/v2/team/app/manifests/v1');
      seen.add(answer.status);
      if (answer.status === 200) assert.deepEqual(answer.body, image.bytes);
    }
    return seen;
  });
  for (let round = 0; round < 5; round += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await server.query(
      'postgres',
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'flotilla-hub'`,
    );
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await hub.ask('/v2/team/app/manifests/v1');
  }
  end.abort();
  const seen = new Set((await Promise.all(pulls)).flatMap((own) => [...own]));
  seen.delete(503);
  assert.deepEqual([...seen], [200]);
  await recovered(hub);
});
