import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verifyStatement } from '../../proto/chunks/statement.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import { EnrolResponse, MembersResponse, RenewResponse } from '../../proto/hubapi/schemas.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { verifyMembership, type Membership } from '../../proto/trust/membership.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { RENEW_GRACE_MS } from './constants.ts';
import { BLOB, BLOB_SIZE, TestAgent, TestHub, type Reply } from './fleet-fixture.ts';
import { MemoryFleetStore } from './memory-store.ts';

const WEEK_MS = 7 * 86_400_000;

function membershipOf(hub: TestHub, reply: Reply): Membership {
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  const bytes = Buffer.from(checkBody(RenewResponse, reply.body).membership, 'base64');
  return verifyMembership(bytes, hub.trust, { nowMs: hub.nowMs, fleetId: hub.fleet.fleetId });
}

async function members(hub: TestHub, agent: TestAgent, version = 0) {
  const { body } = await hub.call(agent, 'members', undefined, { query: `?version=${version}` });
  const { memberships, ...list } = checkBody(MembersResponse, body);
  const options = { nowMs: hub.nowMs, fleetId: hub.fleet.fleetId };
  return {
    version: list.version,
    unchanged: memberships === undefined,
    nodes: (memberships ?? [])
      .map((text) => verifyMembership(Buffer.from(text, 'base64'), hub.trust, options).node)
      .sort(),
    revoked: list.revokedSerials ?? [],
  };
}

test('an agent with a join token becomes a member whose certificate verifies', async (t) => {
  const zones = { 'node-1': 'zone-a' };
  const hub = await TestHub.start(t, { config: { zones } });
  const agent = new TestAgent();
  const reply = await hub.enrol(agent, 'node-1', { remote: '10.1.1.1' });
  const membership = membershipOf(hub, reply);
  assert.equal(membership.peerId, agent.peerId);
  assert.deepEqual(membership.addresses, ['10.1.1.1']);
  assert.equal(membership.zone, 'zone-a');
  assert.equal(membership.notAfterMs - membership.notBeforeMs, WEEK_MS);
  const { hubNames, upstreams } = checkBody(EnrolResponse, reply.body);
  assert.deepEqual(hubNames, ['hub.example']);
  assert.deepEqual(upstreams, [{ name: 'docker.io', alias: 'dockerhub' }]);
  assert.equal(await hub.metric('fleet_members'), 1);
  assert.equal(await hub.metric('fleet_enrolments_total', { result: 'ok' }), 1);
});

test('the zone and the addresses come from the hub, not from the agent', async (t) => {
  const hub = await TestHub.start(t, { config: { addressCidrs: ['10.5.0.0/16'] } });
  const reply = await hub.enrol(new TestAgent(), 'node-1', {
    zone: 'liar',
    remote: '203.0.113.5',
    addresses: ['10.5.0.1', '198.51.100.1'],
  });
  const membership = membershipOf(hub, reply);
  assert.equal(membership.zone, '');
  assert.deepEqual(membership.addresses, ['10.5.0.1', '203.0.113.5']);
});

test('behind a trusted proxy the address is that of the agent', async (t) => {
  const hub = await TestHub.start(t, { trustedProxies: ['10.0.0.1'] });
  const agent = new TestAgent();
  const headers = { 'x-forwarded-for': '192.0.2.44' };
  await hub.enrol(agent, 'node-1', { remote: '192.0.2.1' });
  const endpoint = { addresses: [], libp2pPort: 7412, lanePort: 0, version: '0' };
  const trusted = await hub.call(agent, 'renew', endpoint, { remote: '10.0.0.1', headers });
  assert.deepEqual(membershipOf(hub, trusted).addresses, ['192.0.2.44']);
  const forged = await hub.call(agent, 'renew', endpoint, { remote: '10.0.0.2', headers });
  assert.deepEqual(membershipOf(hub, forged).addresses, ['10.0.0.2']);
});

test('a join token is good for its uses and its time, and only for its fleet', async (t) => {
  const hub = await TestHub.start(t);
  const token = await hub.fleet.createJoinToken({ uses: 2, expiresInMs: 10_000 });
  assert.equal((await hub.enrol(new TestAgent(), 'a', { token })).status, 200);
  assert.equal((await hub.enrol(new TestAgent(), 'b', { token })).status, 200);
  assert.equal((await hub.enrol(new TestAgent(), 'c', { token })).code, 'TOKEN_USED_UP');
  const short = await hub.fleet.createJoinToken({ expiresInMs: 1000 });
  hub.wait(1000);
  assert.equal((await hub.enrol(new TestAgent(), 'c', { token: short })).code, 'TOKEN_EXPIRED');
  const other = await TestHub.start(t);
  const foreign = await other.fleet.createJoinToken();
  assert.equal((await hub.enrol(new TestAgent(), 'c', { token: foreign })).code, 'TOKEN_INVALID');
  const guessed = token.replace(/\.[^.]+\.([0-9a-f]{64})$/, `.${'A'.repeat(43)}.$1`);
  const reply = await hub.enrol(new TestAgent(), 'c', { token: guessed });
  assert.deepEqual([reply.status, reply.code], [403, 'TOKEN_INVALID']);
  assert.equal(await hub.metric('fleet_members'), 2);
});

test('an agent that lost the answer enrols again without another use of its token', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  const token = await hub.fleet.createJoinToken({ uses: 1 });
  const first = membershipOf(hub, await hub.enrol(agent, 'node-1', { token }));
  const second = membershipOf(hub, await hub.enrol(agent, 'node-1', { token }));
  assert.ok(second.serial > first.serial);
  assert.deepEqual((await members(hub, agent)).revoked, []);
});

test('a second enrolment of a node name revokes the first, with a warning', async (t) => {
  const hub = await TestHub.start(t);
  const [first, second] = [new TestAgent(), new TestAgent()];
  const { serial } = membershipOf(hub, await hub.enrol(first, 'node-1'));
  await hub.enrol(second, 'node-1');
  const list = await members(hub, second);
  assert.deepEqual(list.nodes, ['node-1']);
  assert.deepEqual(list.revoked, [serial]);
  const refused = await hub.call(first, 'members', undefined);
  assert.deepEqual([refused.status, refused.code], [403, 'REVOKED']);
  assert.equal(await hub.metric('fleet_node_conflicts_total'), 1);
  assert.ok(hub.logs.some((entry) => entry['level'] === 40 && entry['node'] === 'node-1'));
});

test('a key that takes another node name loses the former one', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  const { serial } = membershipOf(hub, await hub.enrol(agent, 'old'));
  await hub.enrol(agent, 'new');
  const list = await members(hub, agent);
  assert.deepEqual(list.nodes, ['new']);
  assert.deepEqual(list.revoked, [serial]);
});

test('a revoked node is out at once, and its serial is published', async (t) => {
  const hub = await TestHub.start(t);
  const [gone, stays] = [new TestAgent(), new TestAgent()];
  const { serial } = membershipOf(hub, await hub.enrol(gone, 'gone'));
  await hub.enrol(stays, 'stays');
  const before = await members(hub, stays);
  assert.equal(await hub.fleet.revokeNode('gone'), true);
  assert.equal(await hub.fleet.revokeNode('gone'), false);
  const after = await members(hub, stays, before.version);
  assert.ok(after.version > before.version);
  assert.deepEqual([after.nodes, after.revoked], [['stays'], [serial]]);
  const announce = { full: true, downloads: [] };
  assert.equal((await hub.call(gone, 'announce', announce)).code, 'REVOKED');
});

test('the member list is sent only when it has changed', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  await hub.enrol(agent, 'a');
  const first = await members(hub, agent);
  assert.equal((await members(hub, agent, first.version)).unchanged, true);
  await hub.enrol(new TestAgent(), 'b');
  assert.deepEqual((await members(hub, agent, first.version)).nodes, ['a', 'b']);
});

test('a renewal gives a later certificate, but a young unchanged one is given again', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  const endpoint = { addresses: [], libp2pPort: 7412, lanePort: 0, version: '0' };
  const first = membershipOf(hub, await hub.enrol(agent, 'a'));
  const same = membershipOf(hub, await hub.call(agent, 'renew', endpoint));
  assert.equal(same.serial, first.serial);
  const moved = { ...endpoint, lanePort: 7413 };
  assert.equal(membershipOf(hub, await hub.call(agent, 'renew', moved)).lanePort, 7413);
  hub.wait(WEEK_MS / 3);
  const third = membershipOf(hub, await hub.call(agent, 'renew', moved));
  assert.ok(third.serial > first.serial && third.notAfterMs > first.notAfterMs);
  assert.deepEqual((await members(hub, agent)).revoked, []);
});

test('certificates of one agent do not pile up', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  await hub.enrol(agent, 'a');
  for (let port = 1; port <= 30; port++) {
    const endpoint = { addresses: [], libp2pPort: port, lanePort: 0, version: '0' };
    // oxlint-disable-next-line no-await-in-loop -- one after the other is what is tested
    assert.equal((await hub.call(agent, 'renew', endpoint)).status, 200);
  }
  const { nodes, revoked } = await members(hub, agent);
  assert.deepEqual(nodes, ['a']);
  assert.equal(revoked.length, 31 - 8);
});

test('a membership that is over opens nothing, but its key can renew it for a while', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  const endpoint = { addresses: [], libp2pPort: 7412, lanePort: 0, version: '0' };
  await hub.enrol(agent, 'a');
  hub.wait(WEEK_MS + CLOCK_SKEW_MS);
  assert.equal((await hub.call(agent, 'members', undefined)).code, 'NOT_A_MEMBER');
  assert.equal((await hub.call(agent, 'renew', endpoint)).status, 200);
  assert.equal((await hub.call(agent, 'members', undefined)).status, 200);
  hub.wait(WEEK_MS + CLOCK_SKEW_MS + RENEW_GRACE_MS);
  assert.equal((await hub.call(agent, 'renew', endpoint)).code, 'NOT_A_MEMBER');
});

test('members, tokens, revocations and the fleet id outlive a restart', async (t) => {
  const store = new MemoryFleetStore();
  const before = await TestHub.start(t, { store });
  const [a, b] = [new TestAgent(), new TestAgent()];
  await before.enrol(a, 'a');
  await before.enrol(b, 'b');
  await before.fleet.revokeNode('b');
  const version = (await members(before, a)).version;
  const after = await TestHub.start(t, { store, keysDir: before.keysDir });
  after.wait(60_000);
  assert.equal(after.fleet.fleetId, before.fleet.fleetId);
  const unchanged = await after.call(a, 'members', undefined, { query: `?version=${version}` });
  const told = checkBody(MembersResponse, unchanged.body);
  assert.deepEqual([told.version, told.memberships], [version, undefined]);
  assert.equal((await after.call(b, 'members', undefined)).code, 'REVOKED');
});

test('statements of the hub verify; small and unknown blobs have none', async (t) => {
  const hub = await TestHub.start(t);
  await hub.enrol(new TestAgent(), 'a');
  const bytes = await hub.fleet.statementFor(BLOB);
  assert.ok(bytes);
  const statement = verifyStatement(bytes, hub.trust);
  assert.deepEqual([statement.digest, statement.size], [BLOB, BLOB_SIZE]);
  assert.equal(await hub.fleet.statementFor(digestOf(Buffer.from('other'))), undefined);
});
