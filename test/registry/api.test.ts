import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { apiRoutes } from '../../hub/api/routes.ts';
import { BASIC, TestHub } from './test-hub.ts';

type Schema = Record<string, unknown>;
type Operation = {
  operationId?: string;
  summary?: string;
  parameters?: { name: string; in: string }[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
};

let hub: TestHub;
before(async () => {
  hub = await TestHub.start({
    http: { listen: ['127.0.0.1:0'], trustedProxies: ['127.0.0.0/8'] },
  });
  for (const name of ['own', 'other']) {
    await hub.api('POST', '/projects', { name, visibility: 'private' });
    await hub.api('POST', `/projects/${name}/robots`, robot(name, `${name}-robot`));
  }
  for (const name of ['ada', 'bob', 'dev', 'eve']) {
    await hub.api('POST', '/accounts', { name, password: `${name}-password` });
  }
  await hub.api('PUT', '/projects/own/members/ada', { role: 'admin' });
  await hub.api('PUT', '/projects/own/members/dev', { role: 'developer' });
  await hub.api('PUT', '/projects/other/members/bob', { role: 'admin' });
});
after(() => hub[Symbol.asyncDispose]());

const as = (name: string, password = `${name}-password`) =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;

function tokenIn(body: Buffer): string {
  const { token }: { token: string } = JSON.parse(body.toString());
  return token;
}

function namesIn(body: Buffer): string[] {
  const { projects }: { projects: { name: string }[] } = JSON.parse(body.toString());
  return projects.map(({ name }) => name);
}

function robot(project: string, name: string): object {
  return { name, permissions: [{ repository: `${project}/**`, actions: ['pull'] }] };
}

/** Every operation, as the hub has it. */
const ROUTES = apiRoutes({
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no operation is called
  ...({} as Parameters<typeof apiRoutes>[0]),
});

function described(spec: { paths: Record<string, Record<string, Operation>> }, path: string) {
  return spec.paths[`/api/v1${path.replaceAll(/:([a-z]+)/g, '{$1}')}`];
}

test('every operation is in the description, with its parameters, body and answers', async () => {
  const answer = await hub.ask('/api/v1/openapi.json', { authorization: undefined });
  assert.equal(answer.status, 200);
  const spec: {
    openapi: string;
    paths: Record<string, Record<string, Operation>>;
  } = JSON.parse(answer.body.toString());
  assert.equal(spec.openapi, '3.1.0');
  const operations = Object.values(spec.paths).flatMap((path) => Object.values(path));
  assert.equal(operations.length, ROUTES.length);
  assert.equal(new Set(operations.map((one) => one.operationId)).size, ROUTES.length);
  for (const { method, path, status } of ROUTES) {
    const operation = described(spec, path)?.[method.toLowerCase()];
    assert.ok(operation?.summary, `${method} ${path}`);
    const named = (operation.parameters ?? []).filter((one) => one.in === 'path');
    const wanted = [...path.matchAll(/:([a-z]+)/g)].map(([, name]) => name);
    assert.deepEqual(
      named.map(({ name }) => name),
      wanted,
      path,
    );
    const isBare = /\/(?:secret|rotate|runs|restore|executions|stop)$|^\/backups/.test(path);
    const hasBody = !['GET', 'DELETE'].includes(method) && !isBare;
    assert.equal(operation.requestBody !== undefined, hasBody, `${method} ${path}`);
    for (const code of [String(status), '400', '401', '403', '404']) {
      assert.ok(operation.responses[code], `${method} ${path}: ${code}`);
    }
  }
});

function targetOf(path: string, project: string, account = 'bob'): string {
  const own = path.replace(':project', project).replace(':account', account);
  return own.replace(':robot', `${project}-robot`).replace(':node', 'n1');
}

/** Wrong passwords of one account; a few more would be too many. */
const GUESSES = 5;

test('nothing is for strangers, and nothing for tokens of the registry or robots', async () => {
  const secret = await hub.api('POST', '/projects/own/robots', robot('own', 'caller'));
  const { login, secret: password } = secret.json;
  const token = await hub.ask('/api/token?service=flotilla&scope=registry:catalog:*');
  const { token: bearer }: { token: string } = JSON.parse(token.body.toString());
  for (const [n, { method, path }] of ROUTES.entries()) {
    const target = `/api/v1${targetOf(path, 'own')}`;
    // Too many guesses at one account, or from one address, would be refused as such.
    const guess = as(n < GUESSES ? 'eve' : `eve-${n}`, 'wrong');
    const headers = { 'x-forwarded-for': `10.0.0.${n}` };
    for (const authorization of [undefined, guess, `Bearer ${bearer}`]) {
      const answer = await hub.ask(target, { method, headers, authorization });
      assert.equal(answer.status, 401, `${method} ${path}`);
      assert.match(String(answer.headers['www-authenticate']), /^Basic /);
    }
    const robots = await hub.ask(target, {
      method,
      authorization: as(String(login), String(password)),
    });
    assert.equal(robots.status, 403, `${method} ${path}`);
  }
});

test('an account reaches nothing in a project that is not its own, by whatever id', async () => {
  for (const { method, path, allowed } of ROUTES) {
    if (!path.includes(':project')) continue;
    assert.equal(typeof allowed, 'object', `${path} asks for a role`);
    for (const name of ['ada', 'eve']) {
      const foreign = await hub.api(method, targetOf(path, 'other'), undefined, as(name));
      const missing = await hub.api(method, targetOf(path, 'none'), undefined, as(name));
      assert.equal(foreign.status, 404, `${method} ${path}`);
      const text = foreign.body.toString().replaceAll('other', 'none');
      assert.equal(text, missing.body.toString(), 'as if there were none');
    }
  }
  for (const [method, tail, body] of [
    ['GET', '', undefined],
    ['PATCH', '', { disabled: true }],
    ['POST', '/secret', undefined],
    ['DELETE', '', undefined],
  ] as const) {
    const path = `/projects/own/robots/other-robot${tail}`;
    const answer = await hub.api(method, path, body, as('ada'));
    assert.equal(answer.status, 404, `${method}: the robot of another project`);
  }
  const removed = await hub.api('DELETE', '/projects/own/members/bob', undefined, as('ada'));
  assert.equal(removed.status, 404);
  const untouched = await hub.api('GET', '/projects/other/robots/other-robot');
  assert.equal(untouched.json['disabled'], false);
  assert.equal((await hub.api('GET', '/projects/other/members')).status, 200);
});

test('what only the admin of the hub does, no account does', async () => {
  for (const { method, path, allowed } of ROUTES) {
    if (allowed !== 'admin') continue;
    for (const name of ['ada', 'eve']) {
      const answer = await hub.api(method, targetOf(path, 'own', name), undefined, as(name));
      assert.equal(answer.status, 403, `${method} ${path}`);
    }
  }
});

test('a role in a project does what it may and no more', async () => {
  const dev = as('dev');
  assert.equal((await hub.api('GET', '/projects/own', undefined, dev)).status, 200);
  assert.equal((await hub.api('GET', '/projects/own/members', undefined, dev)).status, 200);
  assert.equal((await hub.api('GET', '/projects/own/robots', undefined, dev)).status, 403);
  const raise = await hub.api('PUT', '/projects/own/members/dev', { role: 'admin' }, dev);
  assert.equal(raise.status, 403, 'nobody raises himself');
  const open = await hub.api('PATCH', '/projects/own', { visibility: 'public' }, dev);
  assert.equal(open.status, 403);
  const list = await hub.api('GET', '/projects', undefined, dev);
  assert.deepEqual(namesIn(list.body), ['own']);
});

test('a field that is not asked for is refused, not taken', async () => {
  const fields = { disabled: false, role: 'admin', epoch: 0, passwordHash: 'x', isAdmin: true };
  for (const [name, value] of Object.entries(fields)) {
    const body = { name: 'mallory', password: 'mallory-password', [name]: value };
    assert.equal((await hub.api('POST', '/accounts', body)).status, 400, name);
    const own = { password: 'ada-password', [name]: value };
    assert.equal((await hub.api('PUT', '/account/password', own, as('ada'))).status, 400, name);
  }
  assert.equal((await hub.api('GET', '/accounts/mallory')).status, 404);
  for (const query of ['?n=0', '?n=-1', '?n=1e9', '?q=password', '?n=2147483648', '?sort=hash']) {
    assert.equal((await hub.api('GET', `/accounts${query}`)).status, 400, query);
  }
});

test('no answer holds a password, a secret or a hash of one', async () => {
  const texts = [];
  for (const path of ['/accounts', '/accounts/ada', '/projects/own/robots', '/projects/own']) {
    texts.push((await hub.api('GET', path)).body.toString());
  }
  assert.ok(!/hash|argon2|secret|password|epoch/i.test(texts.join()), texts.join());
});

test('a robot works until it is refreshed, disabled or deleted', async () => {
  const path = '/projects/own/robots/ci';
  const made = await hub.api('POST', '/projects/own/robots', robot('own', 'ci'), as('ada'));
  assert.equal(made.status, 201);
  assert.equal(made.json['login'], 'robot$own+ci');
  const works = async (secret: unknown): Promise<boolean> => {
    const authorization = as('robot$own+ci', String(secret));
    return (await hub.ask('/v2/', { authorization })).status === 200;
  };
  assert.equal(await works(made.json['secret']), true);
  const fresh = await hub.api('POST', `${path}/secret`, undefined, as('ada'));
  assert.deepEqual(
    [await works(made.json['secret']), await works(fresh.json['secret'])],
    [false, true],
  );
  const change = (body: object) => hub.api('PATCH', path, body, as('ada'));
  assert.equal((await change({ disabled: true })).json['disabled'], true);
  assert.equal(await works(fresh.json['secret']), false);
  await change({ disabled: false, expiresInMs: 60_000 });
  assert.equal(await works(fresh.json['secret']), true);
  assert.equal((await hub.api('DELETE', path, undefined, as('ada'))).status, 204);
  assert.equal(await works(fresh.json['secret']), false);
  const outside = { name: 'x', permissions: [{ repository: 'other/**', actions: ['pull'] }] };
  const refused = await hub.api('POST', '/projects/own/robots', outside, as('ada'));
  assert.equal(refused.status, 400);
});

test('an account changes its password; what it had has ended', async () => {
  const password = { password: 'another password' };
  assert.equal((await hub.api('PUT', '/account/password', password, as('eve'))).status, 204);
  assert.equal((await hub.api('GET', '/projects', undefined, as('eve'))).status, 401);
  const fresh = await hub.api('GET', '/projects', undefined, as('eve', 'another password'));
  assert.equal(fresh.status, 200);
  assert.equal((await hub.api('PUT', '/account/password', password)).status, 403);
  assert.equal((await hub.api('PUT', '/account/password', { password: 'short' })).status, 400);
});

test('bodies that are not JSON, too large or of a form are refused', async () => {
  const target = '/api/v1/accounts';
  const type = { 'content-type': 'application/json' };
  for (const body of [
    '',
    '{',
    '[]',
    'null',
    '"x"',
    `{"name":"x","password":"${'x'.repeat(300)}"}`,
  ]) {
    assert.equal(
      (await hub.ask(target, { method: 'POST', headers: type, body })).status,
      400,
      body,
    );
  }
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const sent = await hub.ask(target, { method: 'POST', headers: form, body: 'name=x' });
  assert.equal(sent.status, 400);
  const plain = { 'content-type': 'text/plain' };
  const text = '{"name":"plain","password":"plain-password"}';
  assert.equal((await hub.ask(target, { method: 'POST', headers: plain, body: text })).status, 400);
  const large = { method: 'POST', headers: type, body: ' '.repeat(100_000) } as const;
  assert.equal((await hub.ask(target, large)).status, 413);
  assert.equal((await hub.ask(target, { ...large, authorization: undefined })).status, 401);
});

test('the key for tokens is replaced without ending what was issued', async () => {
  const ask = async (): Promise<string> => {
    const answer = await hub.ask('/api/token?service=flotilla');
    return tokenIn(answer.body);
  };
  const earlier = await ask();
  assert.deepEqual((await hub.api('POST', '/keys/token/rotate')).json, { rotated: true });
  const later = await ask();
  assert.notEqual(earlier.split('.')[0], later.split('.')[0]);
  for (const token of [earlier, later]) {
    assert.equal((await hub.ask('/v2/', { authorization: `Bearer ${token}` })).status, 200);
  }
  assert.equal((await hub.ask('/v2/', { authorization: BASIC })).status, 200);
});
