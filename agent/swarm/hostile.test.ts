import { create, toBinary } from '@bufbuild/protobuf';
import type { Stream } from '@libp2p/interface';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { digestOf } from '../../proto/oci/digest.ts';
import {
  HELLO_PROTOCOL,
  INFLIGHT_REQUESTS_MAX,
  STREAMS_PER_PEER_MAX,
} from '../../proto/swarm/constants.ts';
import { encodeFrame } from '../../proto/swarm/frame-codec.ts';
import { RequestSchema } from '../../proto/swarm/messages_pb.ts';
import { encodeRequest, type SwarmRequest } from '../../proto/swarm/request.ts';
import { encodeDigest } from '../../proto/trust/digest-bytes.ts';
import { GRANT_DIGESTS_MAX } from '../../proto/trust/grant.ts';
import {
  CONNECTIONS_PER_PEER_MAX,
  PENDING_REQUESTS_MAX,
  PRE_HELLO_MAX_BYTES,
  SMALL_BODIES_PER_PEER_MAX,
  STREAMS_PER_CONNECTION_MAX,
  UNADMITTED_CONNECTIONS_MAX,
} from './constants.ts';
import { readOneFrame } from './frame-stream.ts';
import { RawPeer, received, trySend } from './raw-peer.ts';
import { TestFleet, type TestNode } from './test-fleet.ts';

const MIB = 1024 * 1024;
const TIMEOUT_MS = 20_000;
const FLOOD = 10_000;
const LENGTH_4_GIB = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]);

function signal(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(TIMEOUT_MS) };
}

function ask(stream: Stream, request: SwarmRequest): void {
  trySend(stream, encodeFrame(encodeRequest(request)));
}

/** A server with a blob, and a member that has opened a stream to it. */
async function visited(fleet: TestFleet) {
  const server = await fleet.node('server');
  const blob = fleet.blob(5 * MIB);
  server.content.add(blob);
  const member = await RawPeer.member(fleet, server);
  return { server, blob, member, stream: await member.exchange() };
}

/** The server still serves a member that behaves. */
async function assertServes(fleet: TestFleet, server: TestNode): Promise<void> {
  const blob = fleet.blob(5 * MIB);
  server.content.add(blob);
  const client = await fleet.node(`client-${Math.random().toString(36).slice(2)}`);
  client.members.learn(fleet.certificate(server.membership));
  const link = await client.swarm.link(server.membership, signal());
  assert.equal(await link.openGrant(fleet.grant([blob.digest]), signal()), true);
  const request = { digest: blob.digest, index: 1, length: MIB };
  const chunk = await client.swarm.transport.fetchChunk(server.swarm.peerId, request, signal());
  assert.ok(chunk.bytes.equals(blob.bytes.subarray(MIB, 2 * MIB)));
}

async function assertBanned(server: TestNode, reason: string): Promise<void> {
  const text = await server.metrics.text();
  assert.match(text, new RegExp(`swarm_peers_banned_total\\{reason="${reason}"\\} 1\\n`));
}

/** How many refusals of this kind the server has counted. */
async function refusals(server: TestNode, reason: string): Promise<number> {
  const text = await server.metrics.text();
  return Number(
    new RegExp(`swarm_refused_total\\{reason="${reason}"\\} (\\d+)\\n`).exec(text)?.[1],
  );
}

test('a stranger can run no protocol but hello and gets no byte', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  server.content.add(fleet.blob(5 * MIB));
  await using stranger = await RawPeer.connect(server, await fleet.identity());
  const foreign = ['/ipfs/id/1.0.0', '/ipfs/id/push/1.0.0', '/ipfs/ping/1.0.0', '/ipfs/kad/1.0.0'];
  await Promise.all(foreign.map((protocol) => assert.rejects(stranger.open(protocol))));
  const exchange = await stranger.exchange();
  trySend(exchange, encodeFrame(encodeRequest({ id: 1, kind: 'getPeers', limit: 30 })));
  assert.equal(await received(exchange), 0);
  assert.equal(await refusals(server, 'no_hello'), 1);
});

test('a member that asks for many small blobs has few of them in our memory', async () => {
  await using fleet = new TestFleet();
  const disk = Promise.withResolvers<undefined>();
  let reading = 0;
  const small = (): Promise<undefined> => {
    reading += 1;
    return disk.promise;
  };
  const server = await fleet.node('server', { wrap: () => ({ find: () => undefined, small }) });
  await using hostile = await RawPeer.member(fleet, server);
  const digest = digestOf(Buffer.from('a manifest'));
  const first = await hostile.exchange();
  ask(first, { id: 1, kind: 'openGrant', bundle: fleet.grant([digest]) });
  await readOneFrame(first, { maxBytes: MIB, ...signal() });
  const rest = Array.from({ length: STREAMS_PER_PEER_MAX - 1 }, () => hostile.exchange());
  for (const stream of await Promise.all(rest)) {
    // The answer to the last question tells that those before it were taken.
    const answer = readOneFrame(stream, { maxBytes: MIB, ...signal() });
    for (let id = 1; id < INFLIGHT_REQUESTS_MAX; id++) {
      ask(stream, { id, kind: 'getBlob', digest });
    }
    ask(stream, { id: INFLIGHT_REQUESTS_MAX, kind: 'getPeers', limit: 1 });
    // oxlint-disable-next-line no-await-in-loop -- one stream after the other
    await answer;
  }
  assert.ok(reading <= SMALL_BODIES_PER_PEER_MAX, `${reading} are being read`);
  disk.resolve(undefined);
});

test('a stranger that says nothing is cut', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  await using stranger = await RawPeer.connect(server, await fleet.identity());
  await stranger.ended;
  assert.match(await server.metrics.text(), /swarm_connections\{state="unadmitted"\} 0\n/);
  assert.equal(await refusals(server, 'hello_timeout'), 1);
});

test('a certificate of another fleet or peer, or an expired one, admits nobody', async () => {
  await using fleet = new TestFleet();
  await using other = new TestFleet();
  const server = await fleet.node('server');
  const identity = await fleet.identity();
  const own = { ...server.membership, peerId: identity.peerId, node: 'stranger', serial: 77 };
  const certificates = [
    other.certificate(own),
    fleet.certificate(server.membership),
    fleet.certificate({ ...own, notBeforeMs: 1, notAfterMs: 2 }),
    Buffer.from('no certificate'),
  ];
  for (const certificate of certificates) {
    // oxlint-disable-next-line no-await-in-loop -- one stranger after the other
    await using stranger = await RawPeer.connect(server, identity);
    // oxlint-disable-next-line no-await-in-loop -- one stranger after the other
    await assert.rejects(stranger.hello(certificate));
    // oxlint-disable-next-line no-await-in-loop -- one stranger after the other
    await stranger.ended;
  }
  assert.deepEqual(server.members.list(), []);
});

test('a node that is not enrolled itself answers no hello', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server', { enrolled: false });
  await assert.rejects(RawPeer.member(fleet, server));
});

test('a connection gets one hello', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  await using peer = await RawPeer.member(fleet, server);
  const second = await peer.open(HELLO_PROTOCOL);
  assert.equal(await received(second), 0);
});

test('strangers are bounded in number and in bytes, members come in all the same', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  await using strangers = new AsyncDisposableStack();
  const identities = await Promise.all(
    Array.from({ length: UNADMITTED_CONNECTIONS_MAX + 4 }, () => fleet.identity()),
  );
  const connecting = identities.map((identity) => RawPeer.connect(server, identity));
  const outcomes = await Promise.allSettled(connecting);
  const connected = outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  for (const peer of connected) strangers.use(peer);
  const text = await server.metrics.text();
  const held = Number(/state="unadmitted"\} (\d+)/.exec(text)?.[1]);
  assert.ok(held <= UNADMITTED_CONNECTIONS_MAX, `${held} connections of strangers`);
  await Promise.all(connected.map((peer) => peer.ended));

  await using talker = await RawPeer.connect(server, await fleet.identity());
  const stream = await talker.open(HELLO_PROTOCOL);
  trySend(stream, Buffer.alloc(PRE_HELLO_MAX_BYTES + 1));
  await talker.ended;
  await assertServes(fleet, server);
});

test('a member cannot hold more than a few connections', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  const identity = await fleet.identity();
  await using peers = new AsyncDisposableStack();
  const attempts = Array.from({ length: CONNECTIONS_PER_PEER_MAX * 2 }, () =>
    RawPeer.connect(server, identity),
  );
  for (const attempt of await Promise.allSettled(attempts)) {
    if (attempt.status === 'fulfilled') peers.use(attempt.value);
  }
  const held = Number(/state="unadmitted"\} (\d+)/.exec(await server.metrics.text())?.[1]);
  assert.ok(held <= CONNECTIONS_PER_PEER_MAX, `${held} connections of one peer`);
});

test('a muxer frame of 4 GiB ends the connection, before and after the hello', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  const frame = Buffer.alloc(12);
  frame.writeUInt32BE(1, 4);
  frame.writeUInt32BE(0xffff_ffff, 8);
  await using stranger = await RawPeer.connect(server, await fleet.identity());
  stranger.sendBelowMuxer(frame);
  await stranger.ended;
  await using member = await RawPeer.member(fleet, server);
  member.sendBelowMuxer(frame);
  await member.ended;
  assert.equal(await refusals(server, 'flood'), 2);
  await assertServes(fleet, server);
});

test('a frame that claims 4 GiB bans the member', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  await using member = await RawPeer.member(fleet, server);
  const stream = await member.exchange();
  trySend(stream, LENGTH_4_GIB);
  assert.equal(await received(stream), 0);
  await member.ended;
  await assertBanned(server, 'protocol-violation');
  await assertServes(fleet, server);
});

test('a chunk index of -1 bans the member', async () => {
  await using fleet = new TestFleet();
  const { server, blob, member, stream } = await visited(fleet);
  await using end = member;
  void end;
  const grant = encodeRequest({ id: 1, kind: 'openGrant', bundle: fleet.grant([blob.digest]) });
  trySend(stream, encodeFrame(grant));
  const minusOne = create(RequestSchema, {
    id: 2,
    op: { case: 'getChunk', value: { digest: encodeDigest(blob.digest), index: 0xffff_ffff } },
  });
  trySend(stream, encodeFrame(toBinary(RequestSchema, minusOne)));
  await member.ended;
  await assertBanned(server, 'protocol-violation');
  await assertServes(fleet, server);
});

test('a flood of requests from a member that reads nothing is cut at the bound', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  const blob = fleet.blob(8 * MIB);
  let reads = 0;
  const never = new Promise<void>(() => {});
  server.content.add(blob);
  const held = server.content.find(blob.digest);
  assert.ok(held);
  held.read = () => {
    reads++;
    return never;
  };
  await using member = await RawPeer.member(fleet, server);
  const stream = await member.exchange();
  stream.pause();
  const grant = encodeRequest({ id: 1, kind: 'openGrant', bundle: fleet.grant([blob.digest]) });
  const frames = [encodeFrame(grant)];
  for (let id = 2; id < FLOOD; id++) {
    const request = { id, kind: 'getChunk', digest: blob.digest, index: id % 8 } as const;
    frames.push(encodeFrame(encodeRequest(request)));
  }
  trySend(stream, Buffer.concat(frames));
  await member.ended;
  assert.ok(reads <= INFLIGHT_REQUESTS_MAX + PENDING_REQUESTS_MAX, `${reads} reads were begun`);
  await assertBanned(server, 'protocol-violation');
});

test('grants of a member that reads no answer are not held', async () => {
  await using fleet = new TestFleet();
  const { blob, member, stream } = await visited(fleet);
  await using end = member;
  void end;
  const other = await member.exchange();
  const listed = Array.from({ length: GRANT_DIGESTS_MAX - 1 }, (_, i) =>
    digestOf(Buffer.from([i])),
  );
  const bundle = fleet.grant([...listed, blob.digest]);
  ask(stream, { id: 1, kind: 'openGrant', bundle });
  await readOneFrame(stream, { maxBytes: MIB, ...signal() });
  stream.pause();
  const before = heapBytes();
  ask(stream, { id: 2, kind: 'getChunk', digest: blob.digest, index: 0 });
  const open = INFLIGHT_REQUESTS_MAX + PENDING_REQUESTS_MAX;
  for (let id = 3; id < open; id++) {
    ask(stream, { id, kind: 'openGrant', bundle });
    // oxlint-disable-next-line no-await-in-loop -- until it is on its way
    if (stream.writableNeedsDrain) await once(stream, 'drain');
  }
  // What comes on the same connection after the grants is answered, so the grants have come.
  const answer = readOneFrame(other, { maxBytes: MIB, ...signal() });
  ask(other, { id: 1, kind: 'getPeers', limit: 1 });
  await answer;
  const held = heapBytes() - before;
  assert.equal(stream.status, 'open');
  assert.ok(held < 8 * MIB, `${held} bytes are held for grants that wait for their answer`);
});

test('10,000 streams: few are opened, and the server goes on', async () => {
  await using fleet = new TestFleet();
  const server = await fleet.node('server');
  await using member = await RawPeer.member(fleet, server);
  await Promise.allSettled(Array.from({ length: FLOOD }, () => member.exchange()));
  await assertServes(fleet, server);
  const open = member.connection.streams.filter((stream) => stream.status === 'open');
  assert.ok(open.length <= STREAMS_PER_CONNECTION_MAX, `${open.length} streams are open`);
  const refused = await refusals(server, 'streams');
  assert.ok(refused > FLOOD * 0.9, `${refused} refusals of streams are counted`);
});

test('grants that do not verify, over and over, ban the member', async () => {
  await using fleet = new TestFleet();
  await using other = new TestFleet();
  const server = await fleet.node('server');
  await using member = await RawPeer.member(fleet, server);
  const stream = await member.exchange();
  const bundle = other.grant([]);
  for (let id = 1; id <= INFLIGHT_REQUESTS_MAX * 8 && stream.status === 'open'; id++) {
    trySend(stream, encodeFrame(encodeRequest({ id, kind: 'openGrant', bundle })));
    // oxlint-disable-next-line no-await-in-loop -- a patient attacker waits for each answer
    await Promise.race([once(stream, 'message'), member.ended]);
  }
  await member.ended;
  await assertBanned(server, 'grant-invalid');
});

function once(stream: Stream, event: 'message' | 'drain'): Promise<void> {
  return new Promise((resolve) => {
    stream.addEventListener(event, () => resolve(), { once: true });
  });
}

/** What lives in the heap of this process, without what was dropped. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  collect();
  return process.memoryUsage().heapUsed;
}
