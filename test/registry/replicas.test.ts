// Two hubs on one PostgreSQL: what one of them decides, the other knows.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { ACCOUNT_FAILURES_BURST, RIGHTS_CACHE_MS } from '../../hub/access/constants.ts';
import { postgresForTests } from '../rig/postgres.ts';
import { until } from '../rig/until.ts';
import { sharedKeys } from './shared-keys.ts';
import { BASIC, TestHub } from './test-hub.ts';

const { skip, server: postgres } = postgresForTests();
/** Time for what must be known within RIGHTS_CACHE_MS, on a busy machine. */
const KNOWN_TIMEOUT_MS = RIGHTS_CACHE_MS + 20_000;

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

async function hubs(t: TestContext): Promise<[TestHub, TestHub]> {
  const server = await postgres();
  const url = server.url(await server.createDatabase());
  const fleet = await sharedKeys(t);
  const start = async (): Promise<TestHub> => {
    const catalog = { url, tls: 'off' };
    const http = { listen: ['127.0.0.1:0'], trustedProxies: ['127.0.0.1'] };
    const hub = await TestHub.start({ http, catalog, fleet });
    t.after(() => hub[Symbol.asyncDispose]());
    return hub;
  };
  return Promise.all([start(), start()]);
}

async function tokenOf(hub: TestHub, authorization: string | undefined): Promise<string> {
  const scope = 'repository:team/app:pull,push';
  const answer = await hub.ask(`/api/token?service=flotilla&scope=${scope}`, { authorization });
  assert.equal(answer.status, 200, answer.body.toString());
  const { token }: { token?: string } = JSON.parse(answer.body.toString());
  return `Bearer ${token}`;
}

async function guess(hub: TestHub, i: number): Promise<number> {
  const headers = { 'x-forwarded-for': `192.0.2.${i}` };
  const authorization = basic('ada', `guess ${i}`);
  return (await hub.ask('/v2/', { authorization, headers })).status;
}

async function opens(hub: TestHub, authorization: string): Promise<number> {
  return (await hub.ask('/v2/', { authorization })).status;
}

test('a token of one hub opens the other, the moment after a rotation too', { skip }, async (t) => {
  const [a, b] = await hubs(t);
  const before = await tokenOf(a, BASIC);
  assert.equal(await opens(b, before), 200);
  assert.equal((await a.api('POST', '/keys/token/rotate')).status, 200);
  assert.equal(await opens(b, await tokenOf(a, BASIC)), 200);
  assert.equal(await opens(a, await tokenOf(b, BASIC)), 200);
  assert.deepEqual([await opens(a, before), await opens(b, before)], [200, 200]);
});

test('ten guesses at two hubs are throttled like ten at one', { skip }, async (t) => {
  const [a, b] = await hubs(t);
  await a.api('POST', '/accounts', { name: 'ada', password: 'ada-password' });
  const statuses: number[] = [];
  for (let i = 0; i < 2 * ACCOUNT_FAILURES_BURST; i += 2) {
    statuses.push(...(await Promise.all([guess(a, i), guess(b, i + 1)])));
  }
  const tried = statuses.filter((status) => status === 401).length;
  // Room for one more may come back meanwhile.
  assert.ok(tried >= ACCOUNT_FAILURES_BURST && tried <= ACCOUNT_FAILURES_BURST + 3, `${tried}`);
  assert.ok(statuses.every((status) => [401, 429].includes(status)));
});

test('a right that was taken at one hub ends at the other in its time', { skip }, async (t) => {
  const [a, b] = await hubs(t);
  await a.api('POST', '/projects', { name: 'team', visibility: 'private' });
  await a.api('POST', '/accounts', { name: 'ada', password: 'ada-password' });
  await a.api('PUT', '/projects/team/members/ada', { role: 'developer' });
  await a.pushImage('v1', [randomBytes(100)]);
  const authorization = basic('ada', 'ada-password');
  const read = async (): Promise<number> =>
    (await b.ask('/v2/team/app/manifests/v1', { authorization })).status;
  const bearer = await tokenOf(b, authorization);
  assert.equal(await read(), 200);
  await a.api('DELETE', '/projects/team/members/ada');
  await until('the member is none at the other hub', KNOWN_TIMEOUT_MS, async () =>
    (await read()) === 200 ? undefined : true,
  );
  assert.equal((await b.ask('/v2/', { authorization: bearer })).status, 200);
  await a.api('PATCH', '/accounts/ada', { disabled: true });
  await until('the account is disabled at the other hub', KNOWN_TIMEOUT_MS, async () =>
    (await b.ask('/v2/', { authorization: bearer })).status === 401 ? true : undefined,
  );
});
