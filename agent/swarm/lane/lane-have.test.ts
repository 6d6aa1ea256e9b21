import assert from 'node:assert/strict';
import { on, once } from 'node:events';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { abortable } from '../../../proto/std/abort.ts';
import { HAVE_WAIT_MAX_MS, LANE_HAVE_VERSION_MIN } from '../../../proto/swarm/constants.ts';
import { encodeFrame } from '../../../proto/swarm/frame-codec.ts';
import { decodeLaneHave, LANE_HEAD_BYTES, readLaneHead } from '../../../proto/swarm/lane.ts';
import { encodeRequest } from '../../../proto/swarm/request.ts';
import { HAVE_WAIT_MS } from '../../fetch/constants.ts';
import { LINK_PROOF_MS, LINK_TIMEOUT_MS } from '../constants.ts';
import { LANE_QUESTIONS_MAX, LANE_RETRY_MIN_MS } from './constants.ts';
import { readingAfter } from '../test-fleet.ts';
import {
  chunkFrame,
  dial,
  fleetWithBlob,
  impersonate,
  MIB,
  moveLane,
  signal,
  untilClosed,
  untilLanes,
} from './test-lane.ts';

type Fleet = Awaited<ReturnType<typeof fleetWithBlob>>;

/** A lane to the server that the test writes to, after the grant for the blob if it is given. */
async function laneOf(parts: Fleet, granted: boolean): Promise<TLSSocket> {
  const { fleet, server, client, blob } = parts;
  const link = await client.swarm.link(server.membership, signal());
  if (granted) await link.openGrant(fleet.grant([blob.digest]), signal());
  const socket = await dial(server, client.identity);
  await once(socket, 'secureConnect', signal());
  return socket;
}

function question(parts: Fleet, id: number, knownCount: number): Buffer {
  const { digest } = parts.blob;
  const waitMs = HAVE_WAIT_MAX_MS;
  return encodeFrame(encodeRequest({ id, kind: 'have', digest, knownCount, waitMs }));
}

type Told = { id: number; status: string; body: Buffer };

/** The answers that come on a lane, one after the other. */
async function* answersOf(socket: TLSSocket): AsyncGenerator<Told, undefined> {
  let left = Buffer.alloc(0);
  for await (const [bytes] of on(socket, 'data', signal())) {
    assert.ok(Buffer.isBuffer(bytes));
    left = Buffer.concat([left, bytes]);
    while (left.length >= LANE_HEAD_BYTES) {
      const { id, status, bodyBytes } = readLaneHead(left);
      const end = LANE_HEAD_BYTES + bodyBytes;
      if (left.length < end) break;
      yield { id, status, body: left.subarray(LANE_HEAD_BYTES, end) };
      left = left.subarray(end);
    }
  }
}

async function next(answers: AsyncGenerator<Told, undefined>): Promise<Told> {
  const { value } = await answers.next();
  assert.ok(value);
  return value;
}

test('without a grant nobody learns on a lane what is held', async () => {
  const parts = await fleetWithBlob();
  await using _ = parts.fleet;
  const socket = await laneOf(parts, false);
  const answers = answersOf(socket);
  socket.write(question(parts, 1, 0));
  const told = { id: 1, status: 'noGrant', body: Buffer.alloc(0) };
  assert.deepEqual(await next(answers), told);
});

test('a question waits for news, and holds up no chunk meanwhile', async () => {
  const parts = await fleetWithBlob();
  await using _ = parts.fleet;
  const { server, blob } = parts;
  server.content.add(blob, [0, 2]);
  const socket = await laneOf(parts, true);
  const answers = answersOf(socket);
  socket.write(question(parts, 1, 2));
  socket.write(chunkFrame({ id: 2, kind: 'getChunk', digest: blob.digest, index: 2 }));
  const chunk = await next(answers);
  assert.deepEqual([chunk.id, chunk.body.equals(blob.bytes.subarray(2 * MIB, 3 * MIB))], [2, true]);
  server.content.gain(blob.digest, 4);
  const { id, body } = await next(answers);
  const { size, bitmap } = decodeLaneHave(body);
  assert.deepEqual([id, size, [...bitmap.present()]], [1, blob.bytes.length, [0, 2, 4]]);
});

test('more questions at once than a lane takes cut it', async () => {
  const parts = await fleetWithBlob();
  await using _ = parts.fleet;
  const socket = await laneOf(parts, true);
  const all = parts.blob.layout.chunkCount;
  const ids = Array.from({ length: LANE_QUESTIONS_MAX + 1 }, (_unused, at) => at + 1);
  socket.write(Buffer.concat(ids.map((id) => question(parts, id, all))));
  await untilClosed(socket);
  assert.equal(parts.server.swarm.isBanned(parts.client.swarm.peerId), true);
});

/** Asks what the server holds when a lane is open that breaks at a request; how many it got. */
async function askedOnLane(options: { versionMax?: number; laterMs?: number }): Promise<number> {
  const parts = await fleetWithBlob(options);
  await using _ = parts.fleet;
  const { fleet, server, client, blob, ask } = parts;
  let requests = 0;
  using breaking = await impersonate(server, (raw) => {
    requests++;
    raw.resetAndDestroy();
  });
  moveLane(fleet, { server, client }, breaking.port);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  (await client.swarm.transport.fetchChunk(link.peerId, ask(0), signal()))[Symbol.dispose]();
  await untilLanes(client, 'opened');
  client.clock.nowMs += options.laterMs ?? 0;
  const told = await link.have(blob.digest, { count: 0, waitMs: 0 }, signal());
  assert.equal(told?.complete, true, 'libp2p has the answer in any case');
  return requests;
}

test('a peer is asked on its lane, and over libp2p when that breaks', async () => {
  assert.equal(await askedOnLane({}), 1);
});

test('a peer of the version before is asked nothing on a lane: it bans for that', async () => {
  assert.equal(await askedOnLane({ versionMax: LANE_HAVE_VERSION_MIN - 1 }), 0);
});

test('who asks on lanes alone for long shows itself on libp2p now and then', async () => {
  assert.equal(await askedOnLane({ laterMs: LINK_PROOF_MS }), 0);
});

test('a node learns over a lane what another one holds', async () => {
  const parts = await fleetWithBlob();
  await using _ = parts.fleet;
  const { fleet, server, client, blob, ask } = parts;
  server.content.add(blob, [0]);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  (await client.swarm.transport.fetchChunk(link.peerId, ask(0), signal()))[Symbol.dispose]();
  await untilLanes(client, 'opened');
  const news = link.have(blob.digest, { count: 1, waitMs: HAVE_WAIT_MAX_MS }, signal());
  server.content.gain(blob.digest, 3);
  const told = await news;
  assert.deepEqual([...(told?.bitmap.present() ?? [])], [0, 3]);
  const absent = fleet.blob(5 * MIB).digest;
  await link.openGrant(fleet.grant([absent]), signal());
  assert.equal(await link.have(absent, { count: 0, waitMs: 0 }, signal()), undefined);
});

test('who asks a node what it holds has a lane for the chunks it asks for next', async () => {
  const parts = await fleetWithBlob();
  await using _ = parts.fleet;
  const { fleet, server, client, blob } = parts;
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  assert.equal((await link.have(blob.digest, { count: 0, waitMs: 0 }, signal()))?.complete, true);
  await untilLanes(server, 'accepted');
});

test('a lane that breaks at a question is not dialled again for each', async () => {
  const parts = await fleetWithBlob();
  await using _ = parts.fleet;
  const { fleet, server, client, blob } = parts;
  using breaking = await impersonate(server, (raw) => raw.resetAndDestroy());
  moveLane(fleet, { server, client }, breaking.port);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  const ask = async (): Promise<void> => {
    const told = await link.have(blob.digest, { count: 0, waitMs: 0 }, signal());
    assert.equal(told?.complete, true);
  };
  await ask();
  await untilLanes(client, 'opened', 1);
  // oxlint-disable-next-line no-await-in-loop -- one after the other
  for (let count = 0; count < 20; count += 1) await ask();
  assert.equal(breaking.counts.connections, 1);
  client.clock.nowMs += LANE_RETRY_MIN_MS;
  await ask();
  await untilLanes(client, 'opened', 2);
  assert.equal(breaking.counts.connections, 2);
});

test('a question behind a chunk that takes long is answered, and the chunk goes on', async () => {
  const reading = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  let isHeld = false;
  const wrap = readingAfter(async () => {
    if (!isHeld) return;
    reading.resolve();
    await release.promise;
  });
  const parts = await fleetWithBlob({ wrap });
  await using _ = parts.fleet;
  const { fleet, server, client, blob, ask } = parts;
  const { transport } = client.swarm;
  server.content.add(blob);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  (await transport.fetchChunk(link.peerId, ask(0), signal()))[Symbol.dispose]();
  await untilLanes(client, 'opened');
  (await transport.fetchChunk(link.peerId, ask(0), signal()))[Symbol.dispose]();
  isHeld = true;
  const slow = transport.fetchChunk(link.peerId, ask(1), signal());
  await abortable(reading.promise, signal().signal);
  const all = blob.layout.chunkCount;
  const limit = { signal: AbortSignal.timeout(HAVE_WAIT_MS + LINK_TIMEOUT_MS) };
  const told = await link.have(blob.digest, { count: all, waitMs: HAVE_WAIT_MS }, limit);
  assert.equal(told?.complete, true);
  release.resolve();
  using chunk = await slow;
  assert.ok(chunk.bytes.equals(blob.bytes.subarray(MIB, 2 * MIB)));
});
