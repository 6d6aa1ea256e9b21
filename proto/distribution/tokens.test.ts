import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { mock, test } from 'node:test';
import { BYTES, DIGEST, REPOSITORY, secretsOf, testRegistry } from './test-registry.ts';
import { allClosed } from './test-registry.ts';

const READ = { maxBytes: 100 };
const credentials = { username: 'user', password: 'pass:word' };
const BASIC = `Basic ${Buffer.from('user:pass:word').toString('base64')}`;
const SCOPE = `repository:${REPOSITORY}:pull`;

/** A registry that wants `Bearer good`, which its own /token gives unless told otherwise. */
function guarded(
  challenge: (host: string) => string | string[],
  token: RequestListener = (_request, response) => void response.end('{"token":"good"}'),
): RequestListener {
  return (request, response) => {
    const { url = '', headers } = request;
    if (url.startsWith('/token')) token(request, response);
    else if (headers.authorization === 'Bearer good') response.end(BYTES);
    else {
      const header = challenge(headers.host ?? '');
      response.writeHead(401, { 'www-authenticate': header }).end('who are you?');
    }
  };
}

const bearer = (host: string): string =>
  `Bearer realm="http://${host}/token?x=1",service="s&t",scope="${SCOPE} repository:a:pull"`;

test('a challenge is answered with a token, which is kept for the repository', async (t) => {
  const registry = await testRegistry(t, guarded(bearer));
  const client = registry.client();
  for (let i = 0; i < 2; i++) {
    // oxlint-disable-next-line no-await-in-loop -- the second one uses what the first one got
    assert.deepEqual(await client.readBlob(REPOSITORY, DIGEST, READ), BYTES);
  }
  assert.deepEqual(secretsOf(registry.requests), [
    undefined,
    undefined,
    'Bearer good',
    'Bearer good',
  ]);
  const asked = new URL(registry.requests[1]?.url ?? '', registry.url).searchParams;
  assert.deepEqual(
    [...asked],
    [
      ['x', '1'],
      ['service', 's&t'],
      ['scope', SCOPE],
      ['scope', 'repository:a:pull'],
    ],
  );
});

test('credentials go to the token service, or to a registry that asks for Basic', async (t) => {
  const registry = await testRegistry(t, guarded(bearer));
  await registry.client({ credentials }).readBlob(REPOSITORY, DIGEST, READ);
  assert.deepEqual(secretsOf(registry.requests), [undefined, BASIC, 'Bearer good']);
  const plain = await testRegistry(t, ({ headers }, response) => {
    if (headers.authorization === BASIC) response.end(BYTES);
    else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
  });
  await plain.client({ credentials }).readBlob(REPOSITORY, DIGEST, READ);
  assert.deepEqual(secretsOf(plain.requests), [undefined, BASIC]);
});

test('among several challenges, in one header or many, the one that can be met is', async (t) => {
  const challenges = [
    (host: string) => ['Negotiate', 'Basic realm="x"', bearer(host)],
    (host: string) => `Negotiate YWJj==, Digest realm="a, \\"b\\"", nonce=1, ${bearer(host)}`,
  ];
  for (const challenge of challenges) {
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await testRegistry(t, guarded(challenge));
    // oxlint-disable-next-line no-await-in-loop
    assert.deepEqual(await registry.client().readBlob(REPOSITORY, DIGEST, READ), BYTES);
  }
});

test('a challenge that cannot be met fails with it', async (t) => {
  const long = `Bearer realm="http://127.0.0.1/${'x'.repeat(12_000)}"`;
  for (const challenge of ['', 'Basic realm="x"', 'Negotiate', 'Bearer service="x"', '"""', long]) {
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await testRegistry(
      t,
      guarded(() => challenge),
    );
    const asked = registry.client().readBlob(REPOSITORY, DIGEST, READ);
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(asked, {
      code: 'AUTH_FAILED',
      data: { code: 'AUTH_FAILED', status: 401, challenge },
    });
    assert.equal(registry.requests.length, 1);
  }
});

test('headers of 16 KiB and more are refused', async (t) => {
  const registry = await testRegistry(
    t,
    guarded(() => `Bearer realm="${'x'.repeat(16 * 1024)}"`),
  );
  const asked = registry.client().readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(asked, { code: 'UNREACHABLE' });
});

test('no token is asked of a host that is not configured', async (t) => {
  const service = await testRegistry(t, (_request, response) => response.end('{"token":"good"}'));
  const { host } = service;
  const realms = [
    service.url,
    `http://user:pass@${host}`,
    `https://${host}`,
    'file:///token',
    '/token',
    '',
  ];
  for (const realm of realms) {
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await testRegistry(
      t,
      guarded(() => `Bearer realm="${realm}"`),
    );
    const asked = registry.client({ credentials }).readBlob(REPOSITORY, DIGEST, READ);
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(asked, { code: 'AUTH_FAILED' }, realm);
  }
  const registry = await testRegistry(
    t,
    guarded(() => `Bearer realm="${service.url}"`),
  );
  const listed = registry.client({ credentials, tokenHosts: [host] });
  const asked = listed.readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(asked, { code: 'AUTH_FAILED', message: /plain http/ });
  assert.equal(service.requests.length, 0);
  const allowed = registry.client({ credentials, tokenHosts: [host], allowPlainHttp: true });
  assert.deepEqual(await allowed.readBlob(REPOSITORY, DIGEST, READ), BYTES);
  assert.deepEqual(secretsOf(service.requests), [BASIC]);
});

test('a token service that gives no token fails the request in its own way', async (t) => {
  const answers: readonly [status: number, body: string, code: string][] = [
    [200, 'junk', 'AUTH_FAILED'],
    [200, '', 'AUTH_FAILED'],
    [200, '[]', 'AUTH_FAILED'],
    [200, '{}', 'AUTH_FAILED'],
    [200, '{"token":7}', 'AUTH_FAILED'],
    [200, '{"token":""}', 'AUTH_FAILED'],
    [200, '{"token":"a\\r\\nx: y"}', 'AUTH_FAILED'],
    [200, '{"token":"a","token":"b"}', 'AUTH_FAILED'],
    [200, `{"token":"${'x'.repeat(70_000)}"}`, 'TOO_LARGE'],
    [307, '', 'AUTH_FAILED'],
    [401, '{"token":"good"}', 'AUTH_FAILED'],
    [403, '', 'AUTH_FAILED'],
    [429, '', 'HTTP_STATUS'],
    [503, '', 'HTTP_STATUS'],
  ];
  for (const [status, body, code] of answers) {
    const answer = guarded(bearer, (_request, response) => {
      response.writeHead(status, { location: '/token/other' }).end(body);
    });
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await testRegistry(t, answer);
    const asked = registry.client({ credentials }).readBlob(REPOSITORY, DIGEST, READ);
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(asked, { code }, `${status} ${body.slice(0, 50)}`);
    assert.equal(registry.requests.length, 2);
  }
});

test('a token service that is silent or endless is given up', async (t) => {
  const timeouts = { connectMs: 50, headersMs: 50, bodyIdleMs: 50 };
  const silent = await testRegistry(
    t,
    guarded(bearer, () => {}),
  );
  const asked = silent.client({ timeouts }).readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(asked, { code: 'TIMEOUT' });
  const stalled = guarded(bearer, (_request, response) => void response.write('{"token":'));
  const half = await testRegistry(t, stalled);
  const read = half.client({ timeouts }).readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(read, { code: 'TIMEOUT' });
  const controller = new AbortController();
  const reason = new Error('enough');
  const stopping = await testRegistry(
    t,
    guarded(bearer, () => controller.abort(reason)),
  );
  const { signal } = controller;
  const stopped = stopping.client().readBlob(REPOSITORY, DIGEST, { ...READ, signal });
  await assert.rejects(stopped, reason);
  await allClosed(stopping);
});

test('a refused token fails once, and a caller with its own is not answered for', async (t) => {
  const registry = await testRegistry(
    t,
    guarded(bearer, (_request, response) => void response.end('{"access_token":"bad"}')),
  );
  const client = registry.client();
  const asked = client.readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(asked, { code: 'AUTH_FAILED', message: /refuses the credentials/ });
  assert.deepEqual(secretsOf(registry.requests), [undefined, undefined, 'Bearer bad']);
  const own = client.readBlob(REPOSITORY, DIGEST, { ...READ, authorization: 'Bearer mine' });
  const challenge = bearer(registry.host);
  await assert.rejects(own, { data: { code: 'HTTP_STATUS', status: 401, challenge } });
  assert.equal(registry.requests.length, 4);
});

test('a token is used for its life, which is neither endless nor nothing', async (t) => {
  const lives: readonly [expiresIn: string, keptMs: number][] = [
    ['1e300', 86_400_000],
    ['-5', 60_000],
    ['0.0001', 60_000],
    ['"forever"', 60_000],
    ['300', 300_000],
  ];
  for (const [expiresIn, keptMs] of lives) {
    mock.timers.enable({ apis: ['Date'] });
    const now = mock.method(performance, 'now', () => Date.now());
    const body = `{"token":"good","expires_in":${expiresIn}}`;
    const answer = guarded(bearer, (_request, response) => void response.end(body));
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await testRegistry(t, answer);
    const client = registry.client();
    for (const passed of [1, keptMs / 2, keptMs]) {
      mock.timers.tick(passed);
      // oxlint-disable-next-line no-await-in-loop
      await client.readBlob(REPOSITORY, DIGEST, READ);
    }
    const tokens = registry.requests.filter(({ url }) => url?.startsWith('/token'));
    assert.equal(tokens.length, 2, expiresIn);
    now.mock.restore();
    mock.timers.reset();
  }
});
