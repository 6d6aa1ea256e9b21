import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { Bench, DAY_MS, TestPeer, until } from './test-bench.ts';
import { FLEET_ID, TestHub } from './test-hub.ts';

test('a key that the hub revokes while it renews us is believed no more', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const clock = { nowMs: Date.now() };
  const peer = await new TestPeer().load();
  const other = hub.membership({ peerId: peer.peerId, notAfterMs: clock.nowMs + 60 * DAY_MS });
  const list = { version: 3, memberships: [other.toString('base64')], revokedSerials: [] };
  hub.handlers[FLEET_PATHS.members] = (_body, { url }) => ({
    body: url.endsWith('version=3') ? { version: 3 } : list,
  });
  const options = { url: hub.url, joinToken: hub.joinToken(), pollMs: 5 };
  const fleet = await bench.enrolled({ ...options, now: () => clock.nowMs });
  await until(fleet, () => fleet.members.version === 3);
  assert.equal(fleet.members.list().length, 1);
  hub.ring.revoke(hub.ring.signingKey('membership').keyId, Date.now());
  clock.nowMs += 3 * DAY_MS;
  await until(fleet, () => fleet.trust.serial === hub.ring.serial);
  await until(fleet, () => fleet.members.list().length === 0);
});

test('a node that was away longer than its membership comes back by its key', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const first = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  await bench.stop();
  const clock = { nowMs: (first.members.own?.membership.notAfterMs ?? 0) + 3 * DAY_MS };
  hub.handlers[FLEET_PATHS.renew] = (_body, { peerId }) => ({
    body: {
      keyBundle: hub.ring.bundle().toString('base64'),
      membership: hub
        .membership({ peerId, notBeforeMs: clock.nowMs, notAfterMs: clock.nowMs + DAY_MS })
        .toString('base64'),
    },
  });
  const again = await bench.enrolled({ url: hub.url, now: () => clock.nowMs });
  assert.equal(again.enrolled, true);
  assert.equal(again.fleetId, FLEET_ID);
});

test('a node whose lapsed membership the hub renews no more enrols with its token', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const joinToken = hub.joinToken();
  const first = await bench.enrolled({ url: hub.url, joinToken });
  await bench.stop();
  const clock = { nowMs: (first.members.own?.membership.notAfterMs ?? 0) + 3 * DAY_MS };
  const notAMember = { error: { code: 'NOT_A_MEMBER', message: 'enrol' } };
  hub.handlers[FLEET_PATHS.renew] = () => ({ status: 403, body: notAMember });
  const enrol = hub.handlers[FLEET_PATHS.enrol];
  hub.handlers[FLEET_PATHS.enrol] = (body, from) => {
    const { peerId } = from;
    const fresh = { peerId, notBeforeMs: clock.nowMs, notAfterMs: clock.nowMs + DAY_MS };
    const answer = enrol?.(body, from).body;
    return { body: { ...answer, membership: hub.membership(fresh).toString('base64') } };
  };
  const again = await bench.enrolled({ url: hub.url, joinToken, now: () => clock.nowMs });
  assert.equal(again.enrolled, true);
});

test('a node that has joined stays in its fleet whatever became of its join token', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  await bench.enrolled({ url: hub.url, joinToken: hub.joinToken() });
  await bench.stop();
  const fleets = await Promise.all(
    ['', '\n', 'sesame'].map((joinToken) => bench.open({ url: hub.url, joinToken })),
  );
  assert.deepEqual(
    fleets.map((fleet) => fleet?.enrolled),
    [true, true, true],
  );
});
