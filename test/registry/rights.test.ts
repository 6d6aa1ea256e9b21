import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { SignJWT } from 'jose';
import { ADMIN, assertRefused, BASIC, TestHub } from './test-hub.ts';

let hub: TestHub;
before(async () => {
  hub = await TestHub.start();
});
after(() => hub[Symbol.asyncDispose]());

const START = '/v2/team/app/blobs/uploads/';

async function tokenFor(scope: string, authorization: string | undefined): Promise<string> {
  const query = new URLSearchParams({ service: 'flotilla', scope });
  const answer = await hub.ask(`/api/token?${query.toString()}`, { authorization });
  assert.equal(answer.status, 200, answer.body.toString());
  const { token }: { token: string } = JSON.parse(answer.body.toString());
  return token;
}

const push = (authorization: string | undefined) =>
  hub.ask(START, { method: 'POST', authorization });

test('anybody may pull; to push is refused with how to be allowed', async () => {
  const { digest } = await hub.pushImage('v1', [randomBytes(100)]);
  const anonymous = { authorization: undefined };
  assert.equal((await hub.ask(`/v2/team/app/manifests/${digest}`, anonymous)).status, 200);
  const writes = [
    [START, 'POST'],
    // Where an upload goes on is for those who push, so a token to pull would not do.
    [`${START}3f2504e0-4f89-11d3-9a0c-0305e82c3301`, 'GET'],
    ['/v2/team/app/manifests/v1', 'PUT'],
    ['/v2/team/app/manifests/v1', 'DELETE'],
    [`/v2/team/app/blobs/${digest}`, 'DELETE'],
  ] as const;
  for (const [target, method] of writes) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.ask(target, { method, ...anonymous });
    assertRefused(answer, 401, 'UNAUTHORIZED');
    const challenge = String(answer.headers['www-authenticate']);
    assert.match(
      challenge,
      /^Bearer realm="http:\/\/127\.0\.0\.1:\d+\/api\/token",service="flotilla"/,
    );
    const actions = method === 'DELETE' ? 'pull,push,delete' : 'pull,push';
    assert.ok(challenge.includes(`scope="repository:team/app:${actions}"`), challenge);
  }
});

test('docker login is told to log in, and whether it did', async () => {
  assertRefused(await hub.ask('/v2/', { authorization: undefined }), 401, 'UNAUTHORIZED');
  assert.equal((await hub.ask('/v2/')).status, 200);
  assertRefused(await hub.ask('/v2/', { authorization: 'Basic YTpi' }), 401, 'UNAUTHORIZED');
});

test('wrong credentials and broken headers are refused, for a pull as well', async () => {
  const wrong = Buffer.from(`${ADMIN.username}:wrong`).toString('base64');
  const headers = [`Basic ${wrong}`, 'Basic', 'Basic %%%', 'Bearer', 'Bearer x.y.z', 'Digest a=b'];
  for (const authorization of headers) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assertRefused(await push(authorization), 401, 'UNAUTHORIZED');
  }
  const huge = await push(`Bearer ${'x'.repeat(15_000)}`);
  assert.ok(huge.status === 401 || huge.status === 431);
});

test('a token allows what its scope says, in its repository alone', async () => {
  const token = await tokenFor('repository:team/app:pull,push', BASIC);
  assert.equal((await push(`Bearer ${token}`)).status, 202);
  const elsewhere = await hub.ask('/v2/team/other/blobs/uploads/', {
    method: 'POST',
    authorization: `Bearer ${token}`,
  });
  assertRefused(elsewhere, 401, 'UNAUTHORIZED');
  const pullOnly = await tokenFor('repository:team/app:pull', BASIC);
  assertRefused(await push(`Bearer ${pullOnly}`), 401, 'UNAUTHORIZED');
});

test('an anonymous token never allows a push, whatever it was asked for', async () => {
  const token = await tokenFor('repository:team/app:pull,push,*', undefined);
  assertRefused(await push(`Bearer ${token}`), 401, 'UNAUTHORIZED');
});

test('the token service refuses wrong credentials, and takes the OAuth2 form', async () => {
  const bad = await hub.ask('/api/token?service=flotilla', { authorization: 'Basic YTpi' });
  assert.equal(bad.status, 401);
  const form = new URLSearchParams({ grant_type: 'password', ...ADMIN, service: 'flotilla' });
  form.set('scope', 'repository:team/app:push');
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const ask = { method: 'POST', headers, authorization: undefined } as const;
  const answer = await hub.ask('/api/token', { ...ask, body: form.toString() });
  const granted: { access_token: string } = JSON.parse(answer.body.toString());
  assert.equal((await push(`Bearer ${granted.access_token}`)).status, 202);
  assert.equal((await hub.ask('/api/token', { ...ask, body: 'grant_type=x' })).status, 400);
  const huge = await hub.ask('/api/token', { ...ask, body: 'x'.repeat(100_000) });
  assert.equal(huge.status, 413);
});

test('tokens that others signed, or nobody, are refused', async () => {
  const token = await tokenFor('repository:team/app:pull,push', BASIC);
  const [head = '', body = '', signature = ''] = token.split('.');
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  const claims: Record<string, unknown> = JSON.parse(Buffer.from(body, 'base64url').toString());
  const forged = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256' })
    .sign(Buffer.from(head.padEnd(32, 'x')));
  const flipped = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
  for (const bad of [`${none}.${body}.`, forged, `${head}.${body}.${flipped}`, `${head}.${body}`]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assertRefused(await push(`Bearer ${bad}`), 401, 'UNAUTHORIZED');
  }
  assert.equal((await push(`Bearer ${token}`)).status, 202);
});

test('names that begin with a host belong to upstreams', async () => {
  const answer = await hub.ask('/v2/docker.io/library/x/blobs/uploads/', { method: 'POST' });
  assertRefused(answer, 403, 'DENIED');
});

async function realmOf(at: TestHub, headers: Record<string, string>): Promise<string> {
  const answer = await at.ask(START, { method: 'POST', headers, authorization: undefined });
  return /realm="([^"]*)"/.exec(String(answer.headers['www-authenticate']))?.[1] ?? '';
}

test('the realm is the address configured, else the one the client used', async () => {
  await using own = await TestHub.start({
    hub: { externalUrl: 'https://hub.example/' },
  });
  assert.equal(await realmOf(own, {}), 'https://hub.example/api/token');
  assert.equal(await realmOf(hub, { host: 'hub.test:80' }), 'http://hub.test:80/api/token');
  assert.equal(await realmOf(hub, { host: '[::1]:7400' }), 'http://[::1]:7400/api/token');
  for (const host of ['a"b', 'a/b', 'a b', 'x@y', '']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const realm = await realmOf(hub, { host });
    assert.equal(realm, 'http://localhost/api/token', host);
  }
  const spoofed = await realmOf(hub, {
    host: 'hub.test',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'https',
  });
  assert.equal(spoofed, 'http://hub.test/api/token');
});
