import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeFrame } from '../../proto/swarm/frame-codec.ts';
import { encodeRequest, type SwarmRequest } from '../../proto/swarm/request.ts';
import { decodeResponse, type SwarmResponse } from '../../proto/swarm/response.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { TagName } from '../../proto/trust/tag-statement.ts';
import { readOneFrame } from './frame-stream.ts';
import { RawPeer, trySend } from './raw-peer.ts';
import { NO_RELAY, TestFleet, type TestNode } from './test-fleet.ts';

const NAME: TagName = { namespace: 'hub', repository: 'team/app', tag: 'v1' };
const DIGEST = digestOf(Buffer.from('a manifest'));
const STATEMENT = Buffer.from('what the hub signed');
const MAX_BYTES = 10_000;

function signal(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(10_000) };
}

/** Asks on a stream of its own; the head of the answer. */
async function ask(peer: RawPeer, request: SwarmRequest): Promise<SwarmResponse> {
  const stream = await peer.exchange();
  const answer = readOneFrame(stream, { maxBytes: MAX_BYTES, ...signal() });
  trySend(stream, encodeFrame(encodeRequest(request)));
  return decodeResponse(await answer, MAX_BYTES);
}

async function asked(node: TestNode, kind: string): Promise<number> {
  const metric = await node.metrics.registry
    .getSingleMetric('flotilla_agent_swarm_served_requests_total')
    ?.get();
  const of = metric?.values.filter((value) => value.labels['kind'] === kind) ?? [];
  return of.reduce((sum, { value }) => sum + value, 0);
}

test('a request of a kind that only a later version knows is declined, not punished', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  await using member = await RawPeer.member(fleet, server);
  const { status } = await ask(member, { id: 1, kind: 'unknown' });
  assert.equal(status, 'badRequest');
  const peers = await ask(member, { id: 2, kind: 'getPeers', limit: 4 });
  assert.equal(peers.status, 'ok', 'the same connection goes on');
  assert.equal(await asked(server, 'unknown'), 1);
});

test('a tag statement is passed on while its manifest is public, and else not found', async () => {
  await using fleet = new TestFleet();
  const open = fleet.grant([], { manifestDigest: DIGEST });
  const late = Date.now() - 3_600_000;
  const ended = fleet.grant([], {
    manifestDigest: DIGEST,
    issuedAtMs: late,
    notAfterMs: late + 60_000,
  });
  const someone = await fleet.identity();
  const personal = fleet.grant([], { manifestDigest: DIGEST, peerId: someone.peerId });
  let held: typeof open | undefined = open;
  const relay = {
    publicGrant: (...place: unknown[]) => (place[2] === DIGEST ? held : undefined),
    tagStatement: ({ tag }: TagName) =>
      tag === 'v1' ? { bytes: STATEMENT, digest: DIGEST } : undefined,
  };
  const { server, client } = await fleet.pair({ relay });
  const link = await client.swarm.link(server.membership, signal());
  assert.deepEqual(await link.tag(NAME, signal()), STATEMENT);
  assert.equal(await link.tag({ ...NAME, tag: 'v2' }, signal()), undefined);
  for (const grant of [undefined, ended, personal]) {
    held = grant;
    // oxlint-disable-next-line no-await-in-loop -- in order
    assert.equal(await link.tag(NAME, signal()), undefined);
  }
});

test('a peer of the version before is not asked for what it would ban us for', async () => {
  await using fleet = new TestFleet();
  const relay = { ...NO_RELAY, tagStatement: () => ({ bytes: STATEMENT, digest: DIGEST }) };
  const { server, client } = await fleet.pair({ relay, versionMax: 1 });
  const link = await client.swarm.link(server.membership, signal());
  assert.equal(await link.tag(NAME, signal()), undefined);
  assert.deepEqual(await link.peers(4, signal()), [], 'what both know goes on');
  assert.equal(await asked(server, 'getTag'), 0);
});
