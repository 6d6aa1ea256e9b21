import assert from 'node:assert/strict';
import { createHmac, createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { SignJWT, type JWTHeaderParameters } from 'jose';
import { generateSigningKey, rawPublicKey } from '../../proto/trust/keys.ts';
import { basic, keysOf, TestAccess } from './access-fixture.ts';
import { TOKEN_LIFE_S } from './constants.ts';
import { parseScope } from './scope.ts';
import { Tokens } from './tokens.ts';

const ADMIN = basic('admin', 'pass:word');
const PUSH = 'repository:team/app:pull,push';

function part(fields: object): string {
  return Buffer.from(JSON.stringify(fields)).toString('base64url');
}

test('a scope is split at its first and last colon', () => {
  const type = 'repository';
  const all = ['pull', 'push', 'delete'];
  assert.deepEqual(parseScope('repository:a/b:*'), { type, name: 'a/b', actions: all });
  const actions = ['pull', 'push'];
  assert.deepEqual(parseScope('repository:a:push,pull,fly'), { type, name: 'a', actions });
  const catalog = { type: 'registry', name: 'catalog', actions: ['*'] };
  assert.deepEqual(parseScope('registry:catalog:*'), catalog);
  const bad = ['', 'repository', 'repository:a', 'repository::pull', 'registry:catalog:pull'];
  for (const text of [...bad, 'repository:a:', 'repository:A:pull', 'repository:h:5000/a:pull']) {
    assert.equal(parseScope(text), undefined, text);
  }
});

test('a token holds the part of its scopes that the subject has', async (t) => {
  const hub = await TestAccess.open(t);
  await hub.project('open', 'public');
  for (const name of ['own', 'other']) await hub.project(name);
  const ada = await hub.account('ada', { own: 'developer' });
  const scopes = [
    'repository:own/app:pull,push,delete',
    'repository:other/app:pull,push',
    'repository:open/app:pull,push',
    'repository:own/app:pull',
    'repository:hub.test:5000/own/app:pull',
    'nonsense',
    'registry:catalog:*',
  ];
  const issued = await hub.token(ada, ...scopes);
  const granted = 'repository:own/app:pull,push repository:open/app:pull registry:catalog:*';
  assert.equal(issued.scope, granted);
  assert.equal(issued.expiresIn, TOKEN_LIFE_S);
  assert.equal(issued.issuedAt, new Date(hub.clock.nowMs).toISOString());
  const nobody = await hub.token(undefined, ...scopes);
  assert.equal(nobody.scope, 'repository:open/app:pull');
  const bearer = await hub.bearer(ada, 'repository:own/app:pull');
  assert.equal(await hub.may(bearer, 'own/app'), 'pull', 'no more than its scope');
  assert.equal(await hub.may(bearer, 'own/more'), '');
  assert.equal(await hub.may(bearer, 'open/app'), 'pull', 'what is for everybody');
});

test('a token is no more than the rights that its subject still has', async (t) => {
  const hub = await TestAccess.open(t);
  await hub.project('p', 'public');
  const ada = await hub.account('ada', { p: 'developer' });
  const bearer = await hub.bearer(ada, 'repository:p/app:pull,push');
  const nobody = await hub.bearer(undefined, 'repository:p/app:pull');
  assert.equal(await hub.may(bearer, 'p/app'), 'pull,push');
  assert.equal(await hub.may(nobody, 'p/app'), 'pull');
  await hub.store.putMember('p', { account: 'ada', role: 'guest' });
  await hub.store.setVisibility('p', 'private');
  hub.rights.changed();
  assert.equal(await hub.may(bearer, 'p/app'), 'pull');
  assert.equal(await hub.may(nobody, 'p/app'), '');
});

test('what another replica changed counts within the time rights are remembered', async (t) => {
  const hub = await TestAccess.open(t);
  await hub.project('p', 'public');
  const nobody = await hub.identify(undefined);
  assert.equal(await hub.may(nobody, 'p/app'), 'pull');
  await hub.store.setVisibility('p', 'private');
  hub.clock.nowMs += 5001;
  assert.equal(await hub.may(nobody, 'p/app'), '');
});

test('a token gives no other token', async (t) => {
  const hub = await TestAccess.open(t);
  await hub.project('team', 'public');
  const { token } = await hub.token(ADMIN, PUSH);
  const renewed = await hub.token(`Bearer ${token}`, PUSH);
  assert.equal(renewed.scope, 'repository:team/app:pull');
});

test('a token ends, and is for this hub, this key and this algorithm only', async (t) => {
  const hub = await TestAccess.open(t);
  const { token } = await hub.token(ADMIN, PUSH);
  const identity = await hub.identify(ADMIN);
  const wish = { scopes: [PUSH], service: 'other.example', offline: false };
  const elsewhere = await hub.access.issueToken(identity, wish);
  const key = hub.ring.signingKey('token');
  const kid = key.keyId.toString('hex');
  const stranger = generateSigningKey('token');
  const [head = '', payload = '', signature = ''] = token.split('.');
  const claims: Record<string, unknown> = JSON.parse(Buffer.from(payload, 'base64url').toString());
  const sign = (header: Omit<JWTHeaderParameters, 'alg'>, by = stranger): Promise<string> =>
    new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA', ...header }).sign(by.privateKey);
  const jwk = createPublicKey(stranger.publicKey.export({ format: 'pem', type: 'spki' })).export({
    format: 'jwk',
  });
  const symmetric = `${part({ alg: 'HS256', kid, typ: 'JWT' })}.${payload}`;
  const mac = createHmac('sha256', rawPublicKey(key.publicKey)).update(symmetric);
  const own = await sign({ kid, typ: 'JWT' }, key);
  assert.ok(await hub.identify(`Bearer ${own}`), 'an independent signer and the right key');
  const wrong = {
    'another service': elsewhere.token,
    'another key under a known id': await sign({ kid, typ: 'JWT' }),
    'a key of its own': await sign({ kid, typ: 'JWT', jwk: { ...jwk, kid } }),
    'a key of its own, well signed': await sign({ kid, typ: 'JWT', jwk: { ...jwk, kid } }, key),
    'a chain': await sign({ kid, typ: 'JWT', x5c: ['AAAA'] }, key),
    'a key elsewhere': await sign({ kid, typ: 'JWT', jku: 'http://127.0.0.1/keys' }, key),
    'critical fields': await sign({ kid, typ: 'JWT', crit: ['b64'], b64: true }, key),
    'no algorithm': `${part({ alg: 'none', kid, typ: 'JWT' })}.${payload}.`,
    'no algorithm, signed': `${part({ alg: 'none', kid, typ: 'JWT' })}.${payload}.${signature}`,
    'a symmetric key': `${symmetric}.${mac.digest('base64url')}`,
    'no key id': await sign({ typ: 'JWT' }, key),
    'a path for a key id': await sign({ kid: '../../dev/null', typ: 'JWT' }, key),
    'the key of another purpose': await sign(
      { kid: hub.ring.signingKey('grant').keyId.toString('hex'), typ: 'JWT' },
      hub.ring.signingKey('grant'),
    ),
    'a cut signature': token.slice(0, -8),
    'other claims': `${head}.${part({ ...claims, sub: 'admin', exp: 9e9 })}.${signature}`,
  };
  for (const [what, text] of Object.entries(wrong)) {
    await assert.rejects(hub.identify(`Bearer ${text}`), { code: 'BAD_CREDENTIALS' }, what);
  }
  hub.clock.nowMs += (TOKEN_LIFE_S - 1) * 1000;
  assert.ok(await hub.identify(`Bearer ${token}`));
  hub.clock.nowMs += 1000;
  await assert.rejects(hub.identify(`Bearer ${token}`), { code: 'BAD_CREDENTIALS' });
});

test('after a rotation old tokens go on until they end; a revoked key ends them', async (t) => {
  const hub = await TestAccess.open(t);
  const tokens = new Tokens({ keys: keysOf(hub.ring) });
  const claims = { subject: 'admin', epoch: '', service: '', grants: [] };
  const nowMs = hub.clock.nowMs;
  const old = await tokens.sign({ ...claims, nowS: nowMs / 1000 });
  const oldKey = hub.ring.signingKey('token');
  assert.equal((await tokens.verify(old, nowMs)).subject, 'admin');
  hub.ring.retire('token', nowMs);
  assert.equal((await tokens.verify(old, nowMs)).subject, 'admin');
  const fresh = await tokens.sign({ ...claims, nowS: nowMs / 1000 });
  const [other, first] = [await tokens.verify(fresh, nowMs), await tokens.verify(old, nowMs)];
  assert.notEqual(other.keyId, first.keyId);
  const thief = new Tokens({ keys: { ...keysOf(hub.ring), current: () => oldKey } });
  const late = await thief.sign({ ...claims, nowS: nowMs / 1000 + 1 });
  await assert.rejects(tokens.verify(late, nowMs), { code: 'BAD_CREDENTIALS' });
  hub.ring.revoke(oldKey.keyId, nowMs);
  await assert.rejects(tokens.verify(old, nowMs), { code: 'BAD_CREDENTIALS' });
  assert.ok(await tokens.verify(fresh, nowMs));
});
