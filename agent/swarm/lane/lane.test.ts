import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { test } from 'node:test';
import { encodeFrame } from '../../../proto/swarm/frame-codec.ts';
import { LANE_HEAD_BYTES, readLaneHead } from '../../../proto/swarm/lane.ts';
import { encodeRequest } from '../../../proto/swarm/request.ts';
import { code } from '../test-fleet.ts';
import { LANE_DIAL_PAUSE_MS, LANE_PIPELINE_MAX, LANE_RETRY_MIN_MS } from './constants.ts';
import {
  chunkFrame,
  dial,
  fleetWithBlob,
  impersonate,
  lanes,
  MIB,
  moveLane,
  portOf,
  signal,
  untilClosed,
  untilLanes,
} from './test-lane.ts';

test('a member without an admitted libp2p connection gets nothing on a lane', async () => {
  const { fleet, server, client, blob } = await fleetWithBlob();
  await using _ = fleet;
  const socket = await dial(server, client.identity);
  socket.write(chunkFrame({ id: 1, kind: 'getChunk', digest: blob.digest, index: 0 }));
  assert.equal((await untilClosed(socket)).length, 0);
  assert.equal(await lanes(server, 'refused'), 1);
});

test('a stranger, and who shows no certificate, get nothing on a lane', async () => {
  const { fleet, server, blob } = await fleetWithBlob();
  await using _ = fleet;
  const stranger = await fleet.identity();
  for (const identity of [stranger, undefined]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const socket = await dial(server, identity);
    socket.write(chunkFrame({ id: 1, kind: 'getChunk', digest: blob.digest, index: 0 }));
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal((await untilClosed(socket)).length, 0);
  }
});

test('TLS 1.2 and other application protocols are refused', async () => {
  const { fleet, server, client } = await fleetWithBlob();
  await using _ = fleet;
  for (const more of [{ maxVersion: 'TLSv1.2' }, { ALPNProtocols: ['h2'] }] as const) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const socket = await dial(server, client.identity, more);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal((await untilClosed(socket)).length, 0);
  }
  assert.equal(await lanes(server, 'accepted'), 0);
});

test('an admitted peer without a grant gets a refusal and no byte', async () => {
  const { fleet, server, client, blob } = await fleetWithBlob();
  await using _ = fleet;
  await client.swarm.link(server.membership, signal());
  const socket = await dial(server, client.identity);
  socket.write(chunkFrame({ id: 7, kind: 'getChunk', digest: blob.digest, index: 0 }));
  const [head]: Buffer[] = await once(socket, 'data', signal());
  assert.ok(head);
  assert.deepEqual(readLaneHead(head), { id: 7, status: 'noGrant', bodyBytes: 0 });
  assert.equal(head.length, LANE_HEAD_BYTES);
  socket.destroy();
});

test('a peer that sends something else than chunk requests is cut and banned', async () => {
  const hostile = [
    Buffer.from('GET / HTTP/1.1\r\n'.repeat(20)),
    Buffer.alloc(64 * 1024, 0xff),
    encodeFrame(encodeRequest({ id: 1, kind: 'getPeers', limit: 1 })),
  ];
  for (const bytes of hostile) {
    // oxlint-disable no-await-in-loop -- one after the other
    const { fleet, server, client } = await fleetWithBlob();
    await using _ = fleet;
    await client.swarm.link(server.membership, signal());
    const socket = await dial(server, client.identity);
    socket.write(bytes);
    assert.equal((await untilClosed(socket)).length, 0);
    assert.equal(server.swarm.isBanned(client.swarm.peerId), true);
    // oxlint-enable no-await-in-loop
  }
});

test('more requests at once than a lane takes cut it', async () => {
  const { fleet, server, client, blob } = await fleetWithBlob();
  await using _ = fleet;
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  const socket = await dial(server, client.identity);
  await once(socket, 'secureConnect', signal());
  socket.pause();
  const frames = Array.from({ length: LANE_PIPELINE_MAX * 4 }, (_unused, at) =>
    chunkFrame({ id: at + 1, kind: 'getChunk', digest: blob.digest, index: 0 }),
  );
  socket.write(Buffer.concat(frames));
  socket.resume();
  await untilClosed(socket);
  assert.equal(server.swarm.isBanned(client.swarm.peerId), true);
});

test('lanes are cut when the peer is banned', async () => {
  const { fleet, server, client, blob, ask } = await fleetWithBlob();
  await using _ = fleet;
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  using chunk = await client.swarm.transport.fetchChunk(link.peerId, ask(0), signal());
  assert.equal(chunk.bytes.length, MIB);
  await untilLanes(server, 'accepted');
  const socket = await dial(server, client.identity);
  await once(socket, 'secureConnect', signal());
  server.swarm.ban(client.swarm.peerId, 'protocol-violation', {});
  await untilClosed(socket);
});

test('where another peer answers, streams carry the chunks', async () => {
  const { fleet, server, client, blob, ask } = await fleetWithBlob();
  await using _ = fleet;
  const imposter = await fleet.node('imposter', { lane: true });
  moveLane(fleet, { server, client }, imposter.swarm.lanePort);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  for (const index of [0, 1, 2]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    using chunk = await client.swarm.transport.fetchChunk(link.peerId, ask(index), signal());
    assert.ok(chunk.bytes.equals(blob.bytes.subarray(index * MIB, (index + 1) * MIB)));
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    if (index === 0) await untilLanes(client, 'failed');
  }
  assert.equal(await lanes(client, 'opened'), 0);
});

test('a lane that hangs in its handshake delays no chunk', async () => {
  const { fleet, server, client, blob, ask } = await fleetWithBlob();
  await using _ = fleet;
  const mute: Server = createServer(() => {});
  mute.listen(0, '127.0.0.1');
  await once(mute, 'listening');
  moveLane(fleet, { server, client }, portOf(mute));
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  for (const index of [0, 1, 2, 3]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    using chunk = await client.swarm.transport.fetchChunk(link.peerId, ask(index), signal());
    assert.equal(chunk.bytes.length, MIB);
  }
  assert.equal(await lanes(client, 'opened'), 0);
  mute.close();
});

/** Time enough for a second lane to be opened. */
const STALL_MS = 2_000;

test('where lanes break at the first request, streams carry the chunks', async () => {
  const { fleet, server, client, blob, ask } = await fleetWithBlob();
  await using _ = fleet;
  using breaking = await impersonate(server, (raw) => raw.resetAndDestroy());
  moveLane(fleet, { server, client }, breaking.port);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  for (const index of [0, 1, 2, 3, 4, 5]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    using chunk = await client.swarm.transport.fetchChunk(link.peerId, ask(index), signal());
    assert.ok(chunk.bytes.equals(blob.bytes.subarray(index * MIB, (index + 1) * MIB)));
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    if (index === 0) await untilLanes(client, 'opened');
  }
  assert.equal(breaking.counts.connections, 1);
});

/** A client with a grant, whose first lane leads to somebody that takes all and says nothing. */
async function onMuteLane(bodyStallMs: number) {
  const parts = await fleetWithBlob({ bodyStallMs });
  const { fleet, server, client, blob, ask } = parts;
  await using rig = new AsyncDisposableStack();
  rig.use(fleet);
  const mute = rig.use(await impersonate(server, () => {}));
  moveLane(fleet, { server, client }, mute.port);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  (await client.swarm.transport.fetchChunk(link.peerId, ask(0), signal()))[Symbol.dispose]();
  await untilLanes(client, 'opened');
  const all = rig.move();
  return { ...parts, link, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

test('a silent lane is given up with its sisters, whose chunks take streams', async () => {
  await using rig = await onMuteLane(STALL_MS);
  const { client, blob, ask, link } = rig;
  const { transport } = client.swarm;
  client.clock.nowMs += LANE_DIAL_PAUSE_MS;
  const lost = Array.from({ length: LANE_PIPELINE_MAX }, () =>
    assert.rejects(transport.fetchChunk(link.peerId, ask(1), signal()), code('TIMEOUT')),
  );
  // On a stream: the lane is full, and the next one is dialled.
  (await transport.fetchChunk(link.peerId, ask(2), signal()))[Symbol.dispose]();
  await untilLanes(client, 'opened', 2);
  const saved = transport.fetchChunk(link.peerId, ask(3), signal());
  await Promise.all(lost);
  using chunk = await saved;
  assert.ok(chunk.bytes.equals(blob.bytes.subarray(3 * MIB, 4 * MIB)));
  using next = await transport.fetchChunk(link.peerId, ask(4), signal());
  assert.ok(next.bytes.equals(blob.bytes.subarray(4 * MIB, 5 * MIB)));
  // All waited on one silence, which counts once.
  client.clock.nowMs += LANE_RETRY_MIN_MS;
  using last = await transport.fetchChunk(link.peerId, ask(5), signal());
  assert.ok(last.bytes.equals(blob.bytes.subarray(5 * MIB, 6 * MIB)));
  await untilLanes(client, 'opened', 3);
});

test('a second lane that is refused is not dialled with every chunk', async () => {
  const { fleet, server, client, blob, ask } = await fleetWithBlob();
  await using _ = fleet;
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  const fetchAll = async (): Promise<void> => {
    const chunks = Array.from({ length: LANE_PIPELINE_MAX + 2 }, () =>
      client.swarm.transport.fetchChunk(link.peerId, ask(0), signal()),
    );
    for (const chunk of await Promise.all(chunks)) chunk[Symbol.dispose]();
  };
  await fetchAll();
  await untilLanes(client, 'opened');
  const refusing = createServer((socket) => void socket.destroy());
  refusing.listen(0, '127.0.0.1');
  await once(refusing, 'listening');
  moveLane(fleet, { server, client }, portOf(refusing));
  client.clock.nowMs += LANE_DIAL_PAUSE_MS;
  await fetchAll();
  await untilLanes(client, 'failed');
  client.clock.nowMs += LANE_DIAL_PAUSE_MS;
  await fetchAll();
  assert.equal(await lanes(client, 'failed'), 1);
  client.clock.nowMs += LANE_RETRY_MIN_MS;
  await fetchAll();
  await untilLanes(client, 'failed', 2);
  refusing.close();
});

test('requests on a lane whose peer is gone do not wait for the whole stall time', async () => {
  await using rig = await onMuteLane(600_000);
  const { server, client, ask, link } = rig;
  const { transport } = client.swarm;
  const lost = transport.fetchChunk(link.peerId, ask(1), signal());
  await Promise.all([assert.rejects(lost, code('TIMEOUT')), server.swarm.close()]);
});
