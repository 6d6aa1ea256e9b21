import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestAccess } from './access-fixture.ts';
import { REFRESH_GRACE_MS, REFRESH_LIFE_MS } from './constants.ts';

const WISH = { scopes: ['repository:p/app:pull,push'], service: 'flotilla', offline: false };
const OFFLINE = { ...WISH, offline: true };
const REFUSED = { code: 'BAD_CREDENTIALS' };

async function loggedIn(t: Parameters<typeof TestAccess.open>[0]) {
  const hub = await TestAccess.open(t);
  await hub.project('p');
  const header = await hub.account('ada', { p: 'guest' });
  const identity = await hub.identify(header);
  const issued = await hub.access.issueToken(identity, OFFLINE);
  return { hub, identity, secret: issued.refreshToken ?? assert.fail('a refresh token') };
}

test('a refresh token gives tokens with the rights of the day, again and again', async (t) => {
  const { hub, secret } = await loggedIn(t);
  const first = await hub.access.refresh(secret, WISH);
  assert.equal(first.scope, 'repository:p/app:pull');
  assert.equal(first.refreshToken, undefined);
  await hub.store.putMember('p', { account: 'ada', role: 'developer' });
  hub.rights.changed();
  assert.equal((await hub.access.refresh(secret, WISH)).scope, 'repository:p/app:pull,push');
});

test('it is given to those with a name who ask for it', async (t) => {
  const { hub, identity } = await loggedIn(t);
  assert.equal((await hub.access.issueToken(identity, WISH)).refreshToken, undefined);
  const nobody = await hub.identify(undefined);
  assert.equal((await hub.access.issueToken(nobody, OFFLINE)).refreshToken, undefined);
  const { token } = await hub.access.issueToken(identity, WISH);
  const bearer = await hub.identify(`Bearer ${token}`);
  assert.equal((await hub.access.issueToken(bearer, OFFLINE)).refreshToken, undefined);
});

test('it is for its service alone, is no password, and ends', async (t) => {
  const { hub, secret } = await loggedIn(t);
  const elsewhere = hub.access.refresh(secret, { ...WISH, service: 'other.example' });
  await assert.rejects(elsewhere, REFUSED);
  await assert.rejects(hub.identify(`Bearer ${secret}`), REFUSED);
  for (const wrong of ['', 'x', `${secret}x`, secret.toLowerCase()]) {
    await assert.rejects(hub.access.refresh(wrong, WISH), REFUSED);
  }
  hub.clock.nowMs += REFRESH_LIFE_MS;
  await assert.rejects(hub.access.refresh(secret, WISH), REFUSED);
});

test('what is stored of it does not give it away', async (t) => {
  const { hub, secret } = await loggedIn(t);
  assert.equal(await hub.store.refresh(secret), undefined);
});

test('a changed or disabled account and a revocation end it', async (t) => {
  for (const end of ['password', 'disabled', 'revoked', 'deleted'] as const) {
    const { hub, secret } = await loggedIn(t);
    const { nowMs } = hub.clock;
    if (end === 'revoked') await hub.store.deleteRefreshOf('account:ada');
    else if (end === 'deleted') await hub.store.deleteAccount('ada');
    else if (end === 'password') await hub.store.changeAccount('ada', { passwordHash: 'x', nowMs });
    else await hub.store.changeAccount('ada', { disabled: true, nowMs });
    hub.rights.changed();
    await assert.rejects(hub.access.refresh(secret, WISH), REFUSED, end);
  }
});

test('one that was replaced counts for a moment; used later, the whole login ends', async (t) => {
  const { hub, secret } = await loggedIn(t);
  const next = (await hub.access.refresh(secret, OFFLINE)).refreshToken ?? assert.fail();
  assert.notEqual(next, secret);
  hub.clock.nowMs += REFRESH_GRACE_MS;
  const again = await hub.access.refresh(secret, OFFLINE);
  assert.equal(again.refreshToken, undefined, 'one login has one token in force');
  hub.clock.nowMs += 1;
  await assert.rejects(hub.access.refresh(secret, WISH), REFUSED);
  await assert.rejects(hub.access.refresh(next, WISH), REFUSED, 'somebody has stolen one of them');
});
