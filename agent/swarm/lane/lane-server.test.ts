import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { LANE_HEAD_BYTES, readLaneHead } from '../../../proto/swarm/lane.ts';
import { libp2pKeyOf } from '../../fleet/identity.ts';
import { TestFleet } from '../test-fleet.ts';
import { createLaneCertificate } from './certificate.ts';
import { LANE_GREETINGS_PER_ADDRESS_MAX, LANE_SOCKETS_PER_PEER_MAX } from './constants.ts';
import { chunkFrame, dial, fleetWithBlob, signal, untilClosed, untilLanes } from './test-lane.ts';

const SURPLUS = 4;
const HOUR_MS = 3_600_000;

test('both families are listened on at one port, as the configuration has it', async () => {
  await using fleet = new TestFleet();
  const listen = ['0.0.0.0:0', '[::]:0'];
  const server = await fleet.node('server', { listen, lane: true });
  const client = await fleet.node('client');
  fleet.publish([server, client]);
  await client.swarm.link(server.membership, signal());
  for (const host of ['127.0.0.1', '::1']) {
    // oxlint-disable no-await-in-loop -- one after the other
    const socket = await dial(server, client.identity, { host });
    await once(socket, 'secureConnect', signal());
    socket.destroy();
    // oxlint-enable no-await-in-loop
  }
});

test('an address with too many unfinished handshakes gets no more, others do', async () => {
  const { fleet, server, client, blob } = await fleetWithBlob();
  await using _ = fleet;
  await client.swarm.link(server.membership, signal());
  const open = new Set<Socket>();
  const enough = Promise.withResolvers<void>();
  for (let count = 0; count < LANE_GREETINGS_PER_ADDRESS_MAX + SURPLUS; count++) {
    const localAddress = '127.0.0.2';
    const mute = connect({ host: '127.0.0.1', port: server.swarm.lanePort, localAddress });
    open.add(mute);
    mute.on('error', () => {});
    mute.on('close', () => {
      open.delete(mute);
      if (open.size <= LANE_GREETINGS_PER_ADDRESS_MAX) enough.resolve();
    });
  }
  await enough.promise;
  const socket = await dial(server, client.identity);
  socket.write(chunkFrame({ id: 1, kind: 'getChunk', digest: blob.digest, index: 0 }));
  await once(socket, 'data', signal());
  assert.equal(open.size, LANE_GREETINGS_PER_ADDRESS_MAX);
  for (const mute of open) mute.destroy();
  socket.destroy();
});

test('a peer that came back gets a lane in the place of its oldest one', async () => {
  const { fleet, server, client, blob } = await fleetWithBlob();
  await using _ = fleet;
  await client.swarm.link(server.membership, signal());
  const request = chunkFrame({ id: 7, kind: 'getChunk', digest: blob.digest, index: 0 });
  const sockets = [];
  for (let count = 0; count <= LANE_SOCKETS_PER_PEER_MAX; count++) {
    // oxlint-disable no-await-in-loop -- one after the other
    const socket = await dial(server, client.identity);
    socket.write(request);
    const [head]: Buffer[] = await once(socket, 'data', signal());
    assert.ok(head?.length === LANE_HEAD_BYTES);
    assert.equal(readLaneHead(head).id, 7);
    sockets.push(socket);
    // oxlint-enable no-await-in-loop
  }
  const [oldest, ...others] = sockets;
  assert.ok(oldest);
  await untilClosed(oldest);
  assert.deepEqual(
    others.map((socket) => socket.closed),
    others.map(() => false),
  );
  for (const socket of others) socket.destroy();
});

test('lanes end with the membership, asked on or not', async () => {
  const { fleet, server, client } = await fleetWithBlob();
  await using _ = fleet;
  await client.swarm.link(server.membership, signal());
  const socket = await dial(server, client.identity);
  await untilLanes(server, 'accepted');
  fleet.publish([server, client], [client.membership.serial]);
  await untilClosed(socket);
  assert.equal(server.swarm.isBanned(client.swarm.peerId), false);
});

test('lanes end with the last libp2p connection of the peer', async () => {
  const { fleet, server, client } = await fleetWithBlob();
  await using _ = fleet;
  await client.swarm.link(server.membership, signal());
  const socket = await dial(server, client.identity);
  await untilLanes(server, 'accepted');
  await client.swarm.close();
  await untilClosed(socket);
});

test('a membership that runs out ends its lanes at the next request', async () => {
  const { fleet, server, client, blob } = await fleetWithBlob();
  await using _ = fleet;
  await client.swarm.link(server.membership, signal());
  const socket = await dial(server, client.identity);
  await untilLanes(server, 'accepted');
  server.clock.nowMs = client.membership.notAfterMs + HOUR_MS;
  socket.write(chunkFrame({ id: 1, kind: 'getChunk', digest: blob.digest, index: 0 }));
  assert.equal((await untilClosed(socket)).length, 0);
});

test('a chain of certificates proves nothing', async () => {
  const { fleet, server, client } = await fleetWithBlob();
  await using _ = fleet;
  await client.swarm.link(server.membership, signal());
  const [own, another] = await Promise.all(
    [client.identity, await fleet.identity()].map(async (identity) =>
      createLaneCertificate(await libp2pKeyOf(identity), Date.now()),
    ),
  );
  assert.ok(own && another);
  const cert = `${own.certPem}\n${another.certPem}`;
  const socket = await dial(server, client.identity, { cert, key: own.keyPem });
  assert.equal((await untilClosed(socket)).length, 0);
  await untilLanes(server, 'refused');
});
