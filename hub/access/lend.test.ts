import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verifyAccessToken } from '../../proto/trust/access-token.ts';
import { basic, TestAccess } from './access-fixture.ts';
import { LENT_MAX_MS } from './constants.ts';

const LIFE = { address: '10.0.0.9', lifeMs: 900_000 };

async function hubWithPod(t: Parameters<typeof TestAccess.open>[0]) {
  const hub = await TestAccess.open(t);
  await hub.project('own');
  const header = await hub.account('pod', { own: 'developer' });
  const { token } = await hub.token(header, 'repository:own/app:pull,push');
  return { hub, header, shown: `Bearer ${token}` };
}

test('an agent is lent what its pod may read, and no more of it', async (t) => {
  const { hub, header, shown } = await hubWithPod(t);
  for (const authorization of [shown, header]) {
    const lent = (await hub.access.lend(authorization, 'own/app', LIFE)) ?? assert.fail();
    const identity = await hub.identify(`Bearer ${lent}`);
    assert.equal(await hub.may(identity, 'own/app'), 'pull');
    assert.equal(await hub.may(identity, 'own/other'), '');
    assert.equal(await hub.access.mayRead(lent, 'own/app'), true);
    assert.equal(await hub.access.mayRead(lent, 'own/other'), false);
    const nothing = await hub.token(`Bearer ${lent}`, 'repository:own/app:pull');
    assert.equal(nothing.scope, '', 'it gives no other token');
  }
});

test('nothing is lent without the right, however it is asked', async (t) => {
  const { hub, shown } = await hubWithPod(t);
  const stranger = await hub.account('eve');
  const wrong = [stranger, basic('pod', 'wrong'), 'Bearer x.y.z', 'Basic Og==', 'Digest x', ''];
  for (const authorization of wrong) {
    assert.equal(await hub.access.lend(authorization, 'own/app', LIFE), undefined, authorization);
  }
  assert.equal(await hub.access.lend(shown, 'own/other', LIFE), undefined);
  assert.equal(await hub.access.mayRead('x.y.z', 'own/app'), false);
});

test('what was lent ends with the right of the pod, and with its time', async (t) => {
  const { hub, shown } = await hubWithPod(t);
  const lent = (await hub.access.lend(shown, 'own/app', LIFE)) ?? assert.fail();
  const keyOf = (keyId: string) => hub.ring.verificationKey('token', keyId)?.publicKey;
  const read = verifyAccessToken(lent, keyOf, { nowMs: hub.clock.nowMs });
  assert.equal(read.expiresAtMs, hub.clock.nowMs + LIFE.lifeMs);
  await hub.store.deleteMember('own', 'pod');
  hub.rights.changed();
  assert.equal(await hub.access.mayRead(lent, 'own/app'), false);
  await hub.store.putMember('own', { account: 'pod', role: 'guest' });
  hub.rights.changed();
  assert.equal(await hub.access.mayRead(lent, 'own/app'), true);
  hub.clock.nowMs += LIFE.lifeMs;
  assert.equal(await hub.access.mayRead(lent, 'own/app'), false);
});

test('a long download goes on with what was lent, but not for ever', async (t) => {
  const { hub, shown } = await hubWithPod(t);
  const start = hub.clock.nowMs;
  let lent = await hub.access.lend(shown, 'own/app', LIFE);
  while (lent !== undefined) {
    hub.clock.nowMs += LIFE.lifeMs / 2;
    lent = await hub.access.lend(`Bearer ${lent}`, 'own/app', LIFE);
  }
  const lasted = hub.clock.nowMs - start;
  assert.ok(lasted > LENT_MAX_MS && lasted <= LENT_MAX_MS + LIFE.lifeMs, String(lasted));
});

test('what somebody ordered is read by his right, and lent to nobody else', async (t) => {
  const { hub, header } = await hubWithPod(t);
  const by = { subject: 'account:pod', epoch: (await hub.identify(header)).epoch };
  const life = { lifeMs: LIFE.lifeMs };
  const lent = (await hub.access.lendFor(by, 'own/app', life)) ?? assert.fail();
  assert.equal(await hub.access.mayRead(lent, 'own/app'), true);
  assert.equal(await hub.access.mayRead(lent, 'own/other'), false);
  assert.equal(await hub.access.lend(`Bearer ${lent}`, 'own/app', LIFE), undefined);
  for (const subject of ['', 'account:eve', 'robot:own+gone', 'whoever']) {
    assert.equal(await hub.access.lendFor({ ...by, subject }, 'own/app', life), undefined, subject);
    assert.equal(await hub.access.mayStillRead({ ...by, subject }, 'own/app'), false, subject);
  }
  assert.equal(await hub.access.mayStillRead(by, 'own/app'), true);
  assert.equal(await hub.access.mayStillRead({ ...by, epoch: '0' }, 'own/app'), false);
  assert.equal(await hub.access.mayStillRead({ subject: 'admin', epoch: '' }, 'own/app'), true);
  await hub.store.deleteMember('own', 'pod');
  hub.rights.changed();
  assert.equal(await hub.access.mayRead(lent, 'own/app'), false);
  assert.equal(await hub.access.lendFor(by, 'own/app', life), undefined);
});
