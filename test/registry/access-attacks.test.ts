import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { ACCOUNT_FAILURES_BURST } from '../../hub/access/constants.ts';
import { assertRefused, TestHub } from './test-hub.ts';

let hub: TestHub;
let digest: string;
let layer: string;
before(async () => {
  hub = await TestHub.start({ http: { listen: ['127.0.0.1:0'], trustedProxies: ['127.0.0.0/8'] } });
  for (const name of ['own', 'other']) {
    await hub.api('POST', '/projects', { name, visibility: 'private' });
  }
  const bytes = randomBytes(2000);
  layer = await hub.push(bytes, 'own/app');
  ({ digest } = await hub.pushImage('v1', [bytes], {}, 'own/app'));
  for (const name of ['dev', 'eve', 'victim']) {
    await hub.api('POST', '/accounts', { name, password: `${name}-password` });
  }
  await hub.api('PUT', '/projects/own/members/dev', { role: 'developer' });
  await hub.api('PUT', '/projects/other/members/eve', { role: 'developer' });
});
after(() => hub[Symbol.asyncDispose]());

const as = (name: string, password = `${name}-password`) =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
/** A request that comes from elsewhere, through the proxy that is trusted. */
const from = (address: string) => ({ 'x-forwarded-for': address });

const guess = (user: string) =>
  hub.ask('/api/token?service=flotilla', {
    authorization: as(user, 'wrong'),
    headers: from('10.9.0.1'),
  });

async function lineOf(target: string, headers = ''): Promise<string> {
  const text = `GET ${target} HTTP/1.1\r\nhost: hub.test\r\nconnection: close\r\n${headers}\r\n`;
  return (await hub.raw(text)).split('\r\n', 1)[0] ?? '';
}

test('no way of writing a path leads around the rights', async () => {
  const targets = [
    '/v2/own/app/manifests/v1?x=1',
    '//v2/own/app/manifests/v1',
    '/v2//own/app/manifests/v1',
    '/v2/own/app/manifests/v1/',
    '/v2/own%2Fapp/manifests/v1',
    '/v2/%6fwn/app/manifests/v1',
    '/v2/OWN/app/manifests/v1',
    '/v2/./own/app/manifests/v1',
    '/v2/other/../own/app/manifests/v1',
    '/v2/other/%2e%2e/own/app/manifests/v1',
    '/v2/own/app/manifests/v1;a=b',
    '/v2/own/app/manifests/v1%00',
    'http://hub.test/v2/own/app/manifests/v1',
    'http://localhost/v2/own/app/manifests/v1',
    '/V2/own/app/manifests/v1',
    '/api/v1/../../v2/own/app/manifests/v1',
    `/v2/own/app/blobs/${layer}`,
    `/v2/own/app/referrers/${digest}`,
    `/v2/own/app/_flotilla/chunks/hashes/${layer}`,
    '/api/v1/projects/own',
    '/api/v1/projects/other/../own',
    '/api/v1/accounts?n=1',
    '//api/v1/accounts',
    '/api/v1/accounts/',
  ];
  for (const target of targets) {
    assert.match(await lineOf(target), /^HTTP\/1\.1 40[0145] /, target);
    const eve = `authorization: ${as('eve')}\r\n`;
    assert.match(await lineOf(target, eve), /^HTTP\/1\.1 40[01345] /, target);
  }
});

test('who may push and not delete cannot delete in any other form', async () => {
  const authorization = as('dev');
  const targets = ['manifests/v1', `manifests/${digest}`, `blobs/${layer}`];
  const forms = ['', '?x=/blobs/uploads/', '?a=b'];
  for (const target of targets.flatMap((one) => forms.map((form) => `${one}${form}`))) {
    const answer = await hub.ask(`/v2/own/app/${target}`, { method: 'DELETE', authorization });
    assertRefused(answer, 403, 'DENIED');
  }
  for (const target of targets) assert.equal((await hub.ask(`/v2/own/app/${target}`)).status, 200);
  const named = 'own/blobs/uploads';
  await hub.pushImage('v1', [], {}, named);
  const remove = { method: 'DELETE', authorization } as const;
  assertRefused(await hub.ask(`/v2/${named}/manifests/v1`, remove), 403, 'DENIED');
  const begun = await hub.ask('/v2/own/app/blobs/uploads/', { method: 'POST', authorization });
  const location = String(begun.headers['location']);
  const given = await hub.ask(location, { method: 'DELETE', authorization });
  assert.equal(given.status, 204, 'an upload of his own he may give up');
});

test('an upload is out of reach through another repository or without its rights', async () => {
  const location = await hub.open('own/app');
  const elsewhere = location.replace('/own/app/', '/other/app/');
  for (const method of ['GET', 'PATCH', 'PUT', 'DELETE'] as const) {
    const body = method === 'PATCH' ? Buffer.from('x') : '';
    const query = method === 'PUT' ? `?digest=${layer}` : '';
    const ask = { method, authorization: as('eve'), ...(method === 'GET' ? {} : { body }) };
    assertRefused(await hub.ask(`${location}${query}`, ask), 404, 'NAME_UNKNOWN');
    const own = await hub.ask(`${elsewhere}${query}`, ask);
    assertRefused(own, 404, 'BLOB_UPLOAD_UNKNOWN');
  }
  assert.equal((await hub.ask(location)).status, 204, 'it goes on');
});

test('an upload is for the account that began it, though another may push there too', async () => {
  await hub.api('PUT', '/projects/own/members/victim', { role: 'developer' });
  const start = { method: 'POST', authorization: as('victim') } as const;
  const location = String((await hub.ask('/v2/own/app/blobs/uploads/', start)).headers['location']);
  for (const method of ['GET', 'PATCH', 'PUT', 'DELETE'] as const) {
    const query = method === 'PUT' ? `?digest=${layer}` : '';
    const ask = { method, authorization: as('dev'), ...(method === 'GET' ? {} : { body: 'x' }) };
    assertRefused(await hub.ask(`${location}${query}`, ask), 404, 'BLOB_UPLOAD_UNKNOWN');
  }
  assert.equal((await hub.ask(location, { authorization: as('victim') })).status, 204);
});

test('a blob that is gone from one repository is not readable through another', async () => {
  const bytes = randomBytes(500);
  const gone = await hub.push(bytes, 'own/a');
  await hub.push(bytes, 'other/b');
  assert.equal((await hub.ask(`/v2/own/a/blobs/${gone}`, { method: 'DELETE' })).status, 202);
  assert.equal((await hub.ask(`/v2/other/b/blobs/${gone}`)).status, 200);
  assertRefused(await hub.ask(`/v2/own/a/blobs/${gone}`), 404, 'BLOB_UNKNOWN');
  const mount = `/v2/other/c/blobs/uploads/?mount=${gone}&from=own/a`;
  assert.equal((await hub.ask(mount, { method: 'POST' })).status, 202);
});

test('wrong names and wrong passwords are answered alike', async () => {
  const [known, unknown, admin, robot] = await Promise.all(
    ['victim', 'nobody', 'admin', 'robot$own+ci'].map(guess),
  );
  for (const answer of [unknown, admin, robot]) {
    assert.equal(answer?.status, 401);
    assert.equal(answer.body.toString(), known?.body.toString());
  }
});

test('whether an account exists is told to none below an admin', async () => {
  const permissions = [{ repository: 'own/**', actions: ['pull'] }];
  const made = await hub.api('POST', '/projects/own/robots', { name: 'looker', permissions });
  const robot = as(String(made.json['login']), String(made.json['secret']));
  for (const authorization of [as('dev'), as('eve'), robot]) {
    for (const [method, target] of [
      ['PUT', '/projects/own/members/NAME'],
      ['DELETE', '/projects/own/members/NAME'],
      ['PUT', '/projects/other/members/NAME'],
      ['GET', '/accounts/NAME'],
      ['PATCH', '/accounts/NAME'],
      ['DELETE', '/accounts/NAME'],
      ['DELETE', '/accounts/NAME/sessions'],
    ] as const) {
      const [known, unknown] = await Promise.all(
        ['victim', 'nobody'].map((name) =>
          hub.api(method, target.replace('NAME', name), { role: 'guest' }, authorization),
        ),
      );
      assert.ok([403, 404].includes(Number(known?.status)), `${method} ${target}`);
      assert.equal(known?.status, unknown?.status, `${method} ${target}`);
      assert.equal(known?.body.toString(), unknown?.body.toString());
    }
  }
});

test('logins and tokens are counted', async () => {
  const count = async () => ({
    ok: await hub.metric('logins_total{result="ok"}'),
    refused: await hub.metric('logins_total{result="refused"}'),
    access: await hub.metric('tokens_issued_total{kind="access"}'),
    anonymous: await hub.metric('tokens_issued_total{kind="anonymous"}'),
    refresh: await hub.metric('tokens_issued_total{kind="refresh"}'),
  });
  const earlier = await count();
  const login = '/api/token?service=flotilla';
  await hub.ask(`${login}&offline_token=true`, { authorization: as('eve') });
  await hub.ask(login, { authorization: as('eve'), headers: from('10.8.0.1') });
  await hub.ask(login, { authorization: as('eve', 'x'), headers: from('10.8.0.1') });
  await hub.ask(login, { authorization: undefined });
  const { ok, refused, access, anonymous, refresh } = earlier;
  assert.deepEqual(await count(), {
    ok: ok + 2,
    refused: refused + 1,
    access: access + 2,
    anonymous: anonymous + 1,
    refresh: refresh + 1,
  });
});

test('who guesses is told to wait; the account goes on from where it was used', async () => {
  const login = (password: string, address: string) =>
    hub.ask('/api/token?service=flotilla', {
      authorization: as('victim', password),
      headers: from(address),
    });
  assert.equal((await login('victim-password', '10.1.0.1')).status, 200);
  for (let i = 0; i < ACCOUNT_FAILURES_BURST; i++) await login('guess', '10.6.6.6');
  const throttled = await login('victim-password', '10.6.6.6');
  assert.equal(throttled.status, 429, 'also with the right one: it is not tried');
  assert.ok(Number(throttled.headers['retry-after']) > 0);
  const registry = await hub.ask('/v2/', {
    authorization: as('victim', 'x'),
    headers: from('10.6.6.6'),
  });
  assertRefused(registry, 429, 'TOOMANYREQUESTS');
  const api = await hub.ask('/api/v1/projects', {
    authorization: as('victim', 'x'),
    headers: from('10.6.6.6'),
  });
  assert.equal(api.status, 429);
  assert.equal((await login('victim-password', '10.1.0.1')).status, 200);
  assert.ok((await hub.metric('logins_total{result="throttled"}')) >= 3);
});

test('a form of the token service cannot be bent', async () => {
  const headers = { 'content-type': 'application/x-www-form-urlencoded', ...from('10.2.0.1') };
  const post = (fields: Record<string, string>) => {
    const body = new URLSearchParams(fields).toString();
    return hub.ask('/api/token', { method: 'POST', headers, body, authorization: undefined });
  };
  const password = {
    grant_type: 'password',
    service: 'flotilla',
    scope: 'repository:own/app:pull',
  };
  const bent: Record<string, string>[] = [
    { ...password },
    { ...password, username: '', password: '' },
    { ...password, username: 'dev:dev-password', password: '' },
    { ...password, username: 'dev', password: '' },
    { grant_type: 'refresh_token', refresh_token: '', service: 'flotilla' },
    { grant_type: 'refresh_token', refresh_token: "' OR 1=1 --", service: 'flotilla' },
  ];
  for (const fields of bent) assert.equal((await post(fields)).status, 401, JSON.stringify(fields));
  const good = await post({ ...password, username: 'dev', password: 'dev-password' });
  assert.equal(good.status, 200);
});

test('docker login keeps a token that is no password, and can be ended', async () => {
  const query = 'service=flotilla&offline_token=true&account=dev&client_id=docker';
  const login = await hub.ask(`/api/token?${query}`, { authorization: as('dev') });
  const { refresh_token: secret }: { refresh_token: string } = JSON.parse(login.body.toString());
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const body = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: secret,
    service: 'flotilla',
    scope: 'repository:own/app:pull,push repository:other/app:pull',
  }).toString();
  const renew = () =>
    hub.ask('/api/token', { method: 'POST', headers, body, authorization: undefined });
  const renewed: Record<string, string> = JSON.parse((await renew()).body.toString());
  assert.equal(renewed['scope'], 'repository:own/app:pull,push');
  assert.equal(renewed['token'], renewed['access_token']);
  assertRefused(await hub.ask('/v2/', { authorization: as('dev', secret) }), 401, 'UNAUTHORIZED');
  assert.equal((await hub.api('DELETE', '/accounts/dev/sessions')).json['ended'], 1);
  assert.equal((await renew()).status, 401);
});
