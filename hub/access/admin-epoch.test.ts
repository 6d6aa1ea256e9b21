import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { ADMIN_OPTIONS, basic, START_MS, TestAccess } from './access-fixture.ts';
import { Passwords } from './passwords.ts';

const PASSWORD = 'pass:word';
const ADMIN = basic('admin', PASSWORD);

/** What stands in the admin's token of a hub with this password and these keys. */
async function epochAt(t: TestContext, ring: KeyRing, password = PASSWORD): Promise<string> {
  const options = { ...ADMIN_OPTIONS, adminPassword: password };
  const hub = await TestAccess.open(t, { options, ring });
  const { token } = await hub.token(basic('admin', password), 'repository:a/b:pull');
  const claims: unknown = JSON.parse(
    Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
  );
  assert.ok(typeof claims === 'object' && claims !== null && 'epoch' in claims);
  return String(claims.epoch);
}

test('a token of the admin is nothing to check a guess of the password against', async (t) => {
  const ring = KeyRing.create(START_MS);
  const epoch = await epochAt(t, ring);
  const guess = await new Passwords().fingerprint('admin', PASSWORD);
  assert.notEqual(epoch, guess);
  // A stranger can run this very hub with the right guess, under keys of his own.
  assert.notEqual(epoch, await epochAt(t, KeyRing.create(START_MS)));
});

test('the tokens of the admin hold over a restart and at each hub with its keys', async (t) => {
  const ring = KeyRing.create(START_MS);
  const hub = await TestAccess.open(t, { ring });
  const { token } = await hub.token(ADMIN, 'repository:a/b:pull');
  const again = await TestAccess.open(t, { ring: KeyRing.fromPem(ring.toPem()) });
  const { subject } = await again.identify(`Bearer ${token}`);
  assert.deepEqual(subject, { kind: 'admin' });
});

test('no rotation of keys ends the tokens of the admin', async (t) => {
  const ring = KeyRing.create(START_MS);
  const hub = await TestAccess.open(t, { ring });
  const { token } = await hub.token(ADMIN, 'repository:a/b:pull');
  for (const purpose of ['token', 'statement', 'membership', 'grant'] as const) {
    ring.retire(purpose, START_MS);
  }
  const again = await TestAccess.open(t, { ring });
  for (const one of [hub, again]) {
    const { subject } = await one.identify(`Bearer ${token}`);
    assert.deepEqual(subject, { kind: 'admin' });
  }
});

test('another password ends the tokens of the admin', async (t) => {
  const ring = KeyRing.create(START_MS);
  const hub = await TestAccess.open(t, { ring });
  const { token } = await hub.token(ADMIN, 'repository:a/b:pull');
  const options = { ...ADMIN_OPTIONS, adminPassword: 'another' };
  const changed = await TestAccess.open(t, { ring, options });
  await assert.rejects(changed.identify(`Bearer ${token}`), { code: 'BAD_CREDENTIALS' });
});
