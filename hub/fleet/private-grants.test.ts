import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { AnnounceResponse, GrantResponse } from '../../proto/hubapi/schemas.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import { parseDigest } from '../../proto/oci/digest.ts';
import { verifyGrant } from '../../proto/trust/grant.ts';
import { BLOB, download, MANIFEST, TestAgent, TestHub } from './fleet-fixture.ts';

const REPOSITORY = 'private/app';
const SHOWN = `Bearer ${REPOSITORY}`;
const ASK = { namespace: 'hub', repository: REPOSITORY, digest: BLOB };

async function started(t: TestContext): Promise<{ hub: TestHub; a: TestAgent; b: TestAgent }> {
  const hub = await TestHub.start(t);
  const [a, b] = [new TestAgent(), new TestAgent()];
  for (const [agent, node] of [
    [a, 'a'],
    [b, 'b'],
  ] as const) {
    assert.equal((await hub.enrol(agent, node)).status, 200);
  }
  return { hub, a, b };
}

test('a private grant is for the agent whose runtime showed the right, and no other', async (t) => {
  const { hub, a, b } = await started(t);
  const { status, body } = await hub.call(a, 'grants', { ...ASK, authorization: SHOWN });
  assert.equal(status, 200);
  const answer = checkBody(GrantResponse, body);
  assert.equal(answer.token, REPOSITORY, 'what it reads the repository with');
  const digests = answer.digests.map(parseDigest);
  const verified = (peerId: string) =>
    verifyGrant(Buffer.from(answer.grant, 'base64'), digests, hub.trust, {
      nowMs: hub.nowMs,
      fleetId: hub.fleet.fleetId,
      peerId,
    });
  assert.deepEqual([verified(a.peerId).peerId, digests], [a.peerId, [BLOB]]);
  assert.equal(verified(a.peerId).manifestDigest, MANIFEST);
  assert.throws(() => verified(b.peerId), { code: 'WRONG_AUDIENCE' });
  assert.equal(await hub.metric('fleet_grants_total', { result: 'private' }), 1);
});

test('the right of one runtime is not remembered for another', async (t) => {
  const { hub, a, b } = await started(t);
  assert.equal((await hub.call(a, 'grants', { ...ASK, authorization: SHOWN })).status, 200);
  for (const agent of [a, b]) {
    for (const authorization of [undefined, 'Bearer private/other', 'Basic x', '']) {
      const wish = authorization === undefined ? ASK : { ...ASK, authorization };
      const reply = await hub.call(agent, 'grants', wish);
      assert.deepEqual([reply.status, reply.code], [404, 'NOT_FOUND'], authorization);
    }
  }
});

test('what is shown for public content changes nothing, too much of it is refused', async (t) => {
  const { hub, a } = await started(t);
  const open = { ...ASK, repository: 'team/app', authorization: SHOWN };
  const answer = checkBody(GrantResponse, (await hub.call(a, 'grants', open)).body);
  assert.equal(answer.token, undefined);
  const large = await hub.call(a, 'grants', { ...ASK, authorization: 'x'.repeat(9000) });
  assert.equal(large.status, 400);
});

test('agents that may read a private blob are led to each other, others to nobody', async (t) => {
  const { hub, a, b } = await started(t);
  const told = async (agent: TestAgent, token?: string) => {
    const entry = download({ repository: REPOSITORY, wanted: 4, ...(token ? { token } : {}) });
    const reply = await hub.call(agent, 'announce', { full: false, downloads: [entry] });
    const [first] = checkBody(AnnounceResponse, reply.body).downloads;
    return { peers: first?.peers.length, chunks: first?.hubChunks.length };
  };
  assert.deepEqual(await told(a, REPOSITORY), { peers: 0, chunks: 4 });
  assert.equal((await told(b, REPOSITORY)).peers, 1);
  for (const token of [undefined, 'private/other']) {
    assert.deepEqual(await told(b, token), { peers: 0, chunks: 0 });
  }
});
