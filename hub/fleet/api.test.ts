import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ANNOUNCE_MAX_BYTES, FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { AnnounceResponse, GrantResponse, KeysResponse } from '../../proto/hubapi/schemas.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import { digestOf, parseDigest } from '../../proto/oci/digest.ts';
import { verifyGrant } from '../../proto/trust/grant.ts';
import { verifyMembership } from '../../proto/trust/membership.ts';
import { signRequest } from '../../proto/trust/request-signature.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { LEASE_MS } from './constants.ts';
import { BLOB, BLOB_SIZE, download, MANIFEST, TestAgent, TestHub } from './fleet-fixture.ts';

async function enrolled(hub: TestHub, ...nodes: string[]): Promise<TestAgent[]> {
  const agents = nodes.map(() => new TestAgent());
  for (const [i, agent] of agents.entries()) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    assert.equal((await hub.enrol(agent, nodes[i] ?? '')).status, 200);
  }
  return agents;
}

async function announce(hub: TestHub, agent: TestAgent, downloads: object[], full = false) {
  const reply = await hub.call(agent, 'announce', { full, downloads });
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  return checkBody(AnnounceResponse, reply.body);
}

test('a grant for a public manifest or its blob verifies for any member', async (t) => {
  const hub = await TestHub.start(t);
  const [agent = new TestAgent()] = await enrolled(hub, 'a');
  for (const digest of [MANIFEST, BLOB]) {
    const ask = { namespace: 'hub', repository: 'team/app', digest };
    // oxlint-disable-next-line no-await-in-loop -- in order
    const { status, body } = await hub.call(agent, 'grants', ask);
    assert.equal(status, 200);
    const answer = checkBody(GrantResponse, body);
    const digests = answer.digests.map(parseDigest);
    const grant = verifyGrant(Buffer.from(answer.grant, 'base64'), digests, hub.trust, {
      nowMs: hub.nowMs,
      fleetId: hub.fleet.fleetId,
      peerId: 'anyone',
    });
    assert.deepEqual([grant.manifestDigest, grant.peerId, digests], [MANIFEST, '', [BLOB]]);
    assert.equal(grant.repository, 'team/app');
  }
  assert.equal(await hub.metric('fleet_grants_total', { result: 'public' }), 2);
});

test('there is no grant for private, foreign or unknown content', async (t) => {
  const hub = await TestHub.start(t);
  const [agent = new TestAgent()] = await enrolled(hub, 'a');
  const asks = [
    { namespace: 'hub', repository: 'private/app', digest: MANIFEST },
    { namespace: 'docker.io', repository: 'team/app', digest: MANIFEST },
    { namespace: 'hub', repository: 'team/other', digest: MANIFEST },
    { namespace: 'hub', repository: 'team/app', digest: digestOf(Buffer.from('x')) },
  ];
  for (const ask of asks) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    const reply = await hub.call(agent, 'grants', ask);
    assert.deepEqual([reply.status, reply.code], [404, 'NOT_FOUND'], JSON.stringify(ask));
  }
});

test('two agents are led to each other, and the chunks of the hub are shared out', async (t) => {
  const hub = await TestHub.start(t);
  const [a = new TestAgent(), b = new TestAgent()] = await enrolled(hub, 'a', 'b');
  const first = (await announce(hub, a, [download({ wanted: 64 })])).downloads[0];
  const second = (await announce(hub, b, [download({ wanted: 64 })])).downloads[0];
  assert.ok(first && second && first.hubChunks.length > 0 && second.hubChunks.length > 0);
  const both = [...first.hubChunks, ...second.hubChunks];
  assert.equal(new Set(both).size, both.length);
  assert.ok(both.every((index) => index < 10));
  const [peer = ''] = second.peers;
  const options = { nowMs: hub.nowMs, fleetId: hub.fleet.fleetId };
  const membership = verifyMembership(Buffer.from(peer, 'base64'), hub.trust, options);
  assert.equal(membership.peerId, a.peerId);
  assert.equal(await hub.metric('tracker_leases'), both.length);
  assert.equal(await hub.metric('tracker_leases_total'), both.length);
});

test('what one agent holds is not given out by the hub again', async (t) => {
  const hub = await TestHub.start(t);
  const [a = new TestAgent(), b = new TestAgent()] = await enrolled(hub, 'a', 'b');
  await announce(hub, a, [download({ have: Buffer.of(0xff, 0x01) })]);
  const { downloads } = await announce(hub, b, [download({ wanted: 64 })]);
  assert.deepEqual(downloads[0]?.hubChunks, [9]);
  await announce(hub, a, [download({ complete: true })]);
  hub.wait(LEASE_MS);
  const later = await announce(hub, b, [download({ wanted: 64 })]);
  assert.deepEqual(later.downloads[0]?.hubChunks, []);
  assert.equal(later.downloads[0]?.peers.length, 1);
});

test('a revoked agent is no peer any more, and what it had on lease is free', async (t) => {
  const hub = await TestHub.start(t);
  const [a = new TestAgent(), b = new TestAgent()] = await enrolled(hub, 'a', 'b');
  await announce(hub, a, [download({ wanted: 64 })]);
  await hub.fleet.revokeNode('a');
  assert.equal(await hub.metric('tracker_leases'), 0);
  assert.deepEqual((await announce(hub, b, [download({})])).downloads[0]?.peers, []);
});

test('the hub leases only what it has, at the size it hashed, of what is public', async (t) => {
  const hub = await TestHub.start(t);
  const [a = new TestAgent()] = await enrolled(hub, 'a', 'b');
  const { downloads } = await announce(hub, a, [
    download({ digest: digestOf(Buffer.from('unknown')), wanted: 9 }),
    download({ namespace: 'docker.io', wanted: 9 }),
    download({ size: BLOB_SIZE + 1, wanted: 9 }),
    download({ repository: 'private/app', wanted: 9 }),
  ]);
  assert.deepEqual(
    downloads.map(({ hubChunks }) => hubChunks),
    [[], [], [], []],
  );
});

test('a bitmap that does not fit its blob is refused', async (t) => {
  const hub = await TestHub.start(t);
  const [a = new TestAgent()] = await enrolled(hub, 'a');
  for (const have of [Buffer.of(1), Buffer.of(1, 2, 3), Buffer.of(0, 0xff)]) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    const reply = await hub.call(a, 'announce', { full: true, downloads: [download({ have })] });
    assert.deepEqual([reply.status, reply.code], [400, 'INVALID_BODY']);
  }
});

test('requests without a signature, of a stranger or signed for another are refused', async (t) => {
  const hub = await TestHub.start(t);
  const [a = new TestAgent()] = await enrolled(hub, 'a');
  const stranger = new TestAgent();
  const body = Buffer.from(JSON.stringify({ full: true, downloads: [] }));
  const path = FLEET_PATHS.announce;
  assert.equal((await hub.send('POST', path, body)).code, 'UNSIGNED');
  const unknown = await hub.call(stranger, 'announce', { full: true, downloads: [] });
  assert.deepEqual([unknown.status, unknown.code], [403, 'NOT_A_MEMBER']);
  const signed = { method: 'POST', path, body, nowMs: hub.nowMs };
  const forged = signRequest(signed, {
    peerId: a.peerId,
    privateKey: stranger.privateKey,
  });
  assert.equal((await hub.send('POST', path, body, { authorization: forged })).status, 401);
  const other = Buffer.from(JSON.stringify({ full: false, downloads: [] }));
  const authorization = signRequest(signed, a);
  assert.equal((await hub.send('POST', path, other, { authorization })).code, 'BAD_SIGNATURE');
  const token = await hub.fleet.createJoinToken();
  const fields = { token, node: 'b', addresses: [], libp2pPort: 1, lanePort: 0, version: '0' };
  const asA = await hub.call(stranger, 'enrol', { ...fields, peerId: a.peerId });
  assert.equal(asA.code, 'BAD_SIGNATURE');
});

test('a request that was recorded cannot be sent again, soon or late', async (t) => {
  const hub = await TestHub.start(t);
  const [a = new TestAgent()] = await enrolled(hub, 'a');
  const body = Buffer.from(JSON.stringify({ full: true, downloads: [] }));
  const path = FLEET_PATHS.announce;
  hub.wait(1);
  const authorization = signRequest({ method: 'POST', path, body, nowMs: hub.nowMs }, a);
  assert.equal((await hub.send('POST', path, body, { authorization })).status, 200);
  const again = await hub.send('POST', path, body, { authorization });
  assert.deepEqual([again.status, again.code], [409, 'REPLAYED']);
  hub.wait(CLOCK_SKEW_MS + 1);
  assert.equal((await hub.send('POST', path, body, { authorization })).code, 'CLOCK_SKEW');
});

test('a recorded enrolment does not bring a replaced key back', async (t) => {
  const hub = await TestHub.start(t);
  const [old, fresh] = [new TestAgent(), new TestAgent()];
  const token = await hub.fleet.createJoinToken({ uses: 9 });
  const { peerId } = old;
  const fields = {
    token,
    node: 'n',
    peerId,
    addresses: [],
    libp2pPort: 1,
    lanePort: 0,
    version: '',
  };
  const body = Buffer.from(JSON.stringify(fields));
  hub.wait(1);
  const signed = { method: 'POST', path: FLEET_PATHS.enrol, body, nowMs: hub.nowMs };
  const authorization = signRequest(signed, old);
  assert.equal((await hub.send('POST', FLEET_PATHS.enrol, body, { authorization })).status, 200);
  await hub.enrol(fresh, 'n', { token });
  const replay = await hub.send('POST', FLEET_PATHS.enrol, body, { authorization });
  assert.equal(replay.code, 'REPLAYED');
  assert.equal((await hub.call(fresh, 'members')).status, 200);
});

test('bodies that are too large, no JSON or of another type are refused', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  await hub.enrol(agent, 'a');
  const large = { pad: ' '.repeat(ANNOUNCE_MAX_BYTES) };
  const reply = await hub.call(agent, 'announce', large);
  assert.deepEqual([reply.status, reply.code], [413, 'BODY_TOO_LARGE']);
  const text = await hub.send('POST', FLEET_PATHS.enrol, Buffer.from('x'), {
    'content-type': 'text/plain',
  });
  assert.deepEqual([text.status, text.code], [400, 'INVALID_BODY']);
  assert.equal((await hub.call(agent, 'enrol', [])).code, 'INVALID_BODY');
});

test('a caller that goes away in its request is no failure of the hub', async (t) => {
  const hub = await TestHub.start(t);
  const answered = Promise.withResolvers<void>();
  hub.app.addHook('onSend', async () => answered.resolve());
  const { port } = new URL(await hub.app.listen({ host: '127.0.0.1', port: 0 }));
  const socket = connect(Number(port), '127.0.0.1');
  const headers = 'host: hub\r\ncontent-type: application/json\r\ncontent-length: 100';
  const arrived = new Promise((resolve) => hub.app.server.once('request', resolve));
  socket.write(`POST ${FLEET_PATHS.enrol} HTTP/1.1\r\n${headers}\r\n\r\n{`);
  await arrived;
  socket.destroy();
  await answered.promise;
  assert.deepEqual(
    hub.logs.filter((entry) => Number(entry['level']) >= 40),
    [],
  );
  const aborted = { call: 'enrol', code: 'ABORTED' };
  assert.equal(await hub.metric('fleet_requests_total', aborted), 1);
});

test('whatever JSON a member sends that is no request is refused with a code', async (t) => {
  const hub = await TestHub.start(t);
  const [agent = new TestAgent()] = await enrolled(hub, 'a');
  const calls = fc.constantFrom('enrol', 'renew', 'grants', 'announce');
  await fc.assert(
    fc.asyncProperty(calls, fc.jsonValue(), async (call, value) => {
      const body = typeof value === 'object' && value !== null ? value : { value };
      const reply = await hub.call(agent, call, body);
      assert.ok([400, 404].includes(reply.status), `${call} ${reply.status}`);
    }),
    { numRuns: 150 },
  );
});

test('the keys are public', async (t) => {
  const hub = await TestHub.start(t);
  const { status, body } = await hub.send('GET', FLEET_PATHS.keys, Buffer.alloc(0));
  assert.equal(status, 200);
  hub.trust.load(Buffer.from(checkBody(KeysResponse, body).keyBundle, 'base64'));
  assert.equal(hub.trust.serial, 1);
});
