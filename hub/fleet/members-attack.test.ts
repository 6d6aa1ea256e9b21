import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkBody } from '../../proto/hubapi/body.ts';
import { MembersResponse } from '../../proto/hubapi/schemas.ts';
import { CERTIFICATES_PER_LIFE_MAX } from './constants.ts';
import { TestAgent, TestHub } from './fleet-fixture.ts';
import { MemberTable } from './member-table.ts';
import { MemoryFleetStore } from './memory-store.ts';
import type { CertificateRow } from './store.ts';

const WEEK_MS = 7 * 86_400_000;
const endpoint = { addresses: [], lanePort: 0, version: '0' };

function certificate(serial: number, peerId: string): CertificateRow {
  return {
    serial,
    peerId,
    node: peerId,
    zone: '',
    addresses: [],
    libp2pPort: 1,
    lanePort: 0,
    notBeforeMs: 0,
    notAfterMs: WEEK_MS,
    revokedAtMs: undefined,
    certificate: Buffer.of(serial % 256),
    build: '',
    changed: serial,
  };
}

test('a member that enrols or renews without end costs a bounded number of rows', async (t) => {
  const store = new MemoryFleetStore();
  const hub = await TestHub.start(t, { store });
  const agent = new TestAgent();
  const token = await hub.fleet.createJoinToken({ uses: 1, expiresInMs: WEEK_MS });
  for (let i = 1; i <= 100; i++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other is what is tested
    assert.equal((await hub.enrol(agent, 'a', { token })).status, 200);
    const body = { ...endpoint, libp2pPort: i };
    // oxlint-disable-next-line no-await-in-loop -- as above
    assert.equal((await hub.call(agent, 'renew', body)).status, 200);
  }
  assert.equal((await store.changesSince(0)).length, CERTIFICATES_PER_LIFE_MAX);
  const list = checkBody(MembersResponse, (await hub.call(agent, 'members')).body);
  assert.equal(list.memberships?.length, 1);
});

test('a member that changed too often is heard again when it has to renew', async (t) => {
  const store = new MemoryFleetStore();
  const hub = await TestHub.start(t, { store });
  const agent = new TestAgent();
  await hub.enrol(agent, 'a');
  for (let i = 1; i <= CERTIFICATES_PER_LIFE_MAX + 5; i++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other is what is tested
    await hub.call(agent, 'renew', { ...endpoint, libp2pPort: i });
  }
  hub.wait(WEEK_MS / 3);
  await hub.call(agent, 'renew', { ...endpoint, libp2pPort: 9999 });
  const ports = (await store.changesSince(0)).map((row) => row.libp2pPort);
  assert.equal(ports.at(-1), 9999);
});

test('a member cannot push a revoked one out of the list of revocations', () => {
  const table = new MemberTable({ revokedMax: 5 });
  table.add(certificate(1, 'gone'));
  for (let serial = 2; serial <= 20; serial++) table.add(certificate(serial, 'busy'));
  const change = { nowMs: 0, changed: 99 };
  table.revoke(new Set([1]), change);
  table.revoke(new Set(Array.from({ length: 18 }, (_, i) => i + 2)), change);
  assert.deepEqual(table.revokedSerials(), [1, 19, 18, 17, 16]);
});

test('strangers with invented tokens do not hold up those with real ones', async (t) => {
  const store = new MemoryFleetStore();
  const held = Promise.withResolvers<void>();
  const hub = await TestHub.start(t, { store });
  const writing = Promise.withResolvers<void>();
  const write = store.changeMembers.bind(store);
  store.changeMembers = async (work) => {
    writing.resolve();
    await held.promise;
    return write(work);
  };
  const member = hub.enrol(new TestAgent(), 'a');
  await writing.promise;
  const foreign = `flotilla-join.v1.${'a'.repeat(12)}.${'b'.repeat(43)}.${'0'.repeat(64)}`;
  const refused = await hub.enrol(new TestAgent(), 'b', { token: foreign });
  assert.equal(refused.code, 'TOKEN_INVALID');
  held.resolve();
  assert.equal((await member).status, 200);
});
