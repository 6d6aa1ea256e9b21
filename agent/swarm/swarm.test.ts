import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { BAN_BASE_MS, LINK_IDLE_MS } from './constants.ts';
import { code, NO_RELAY, readingAfter, TestFleet } from './test-fleet.ts';

const MIB = 1024 * 1024;
const TIMEOUT_MS = 20_000;

function signal(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(TIMEOUT_MS) };
}

test('two enrolled nodes exchange a blob chunk by chunk against a grant', async () => {
  await using fleet = new TestFleet();
  const { server, client, blob, link } = await fleet.linked(7 * MIB + 123);
  assert.equal(link.node, 'server');
  assert.equal(await link.openGrant(fleet.grant([blob.digest]), signal()), true);

  const availability = await link.have(blob.digest, { count: 0, waitMs: 0 }, signal());
  assert.equal(availability?.size, blob.bytes.length);
  assert.equal(availability?.complete, true);
  assert.deepEqual(await link.statement(blob.digest, signal()), blob.statement);
  assert.deepEqual(await link.hashes(blob.digest, blob.hashes.length, signal()), blob.hashes);
  const chunks = await Promise.all(
    Array.from({ length: blob.layout.chunkCount }, (_, index) => {
      const length = Math.min(MIB, blob.bytes.length - index * MIB);
      const request = { digest: blob.digest, index, length };
      return client.swarm.transport.fetchChunk(server.swarm.peerId, request, signal());
    }),
  );
  assert.equal(Buffer.concat(chunks.map((chunk) => chunk.bytes)).equals(blob.bytes), true);
});

test('a link works in both directions over the connection that one side opened', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const blob = fleet.blob(5 * MIB);
  client.content.add(blob);
  await client.swarm.link(server.membership, signal());
  const back = await server.swarm.link(client.membership, signal());
  await back.openGrant(fleet.grant([blob.digest]), signal());
  assert.ok(await back.have(blob.digest, { count: 0, waitMs: 0 }, signal()));
  const text = await server.metrics.text();
  assert.match(text, /flotilla_agent_swarm_connections\{state="admitted"\} 1\n/);
});

test('two nodes that dial each other at the same moment both get a link', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const [there, back] = await Promise.all([
    client.swarm.link(server.membership, signal()),
    server.swarm.link(client.membership, signal()),
  ]);
  assert.equal(there.closed, false);
  assert.equal(back.closed, false);
  assert.deepEqual(await there.peers(4, signal()), []);
  assert.deepEqual(await back.peers(4, signal()), []);
});

test('without a grant every question about a digest gets the same refusal', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const held = fleet.blob(5 * MIB);
  server.content.add(held);
  const small = server.content.addSmall(Buffer.from('config'));
  const absent = digestOf(Buffer.from('nobody has this'));
  const link = await client.swarm.link(server.membership, signal());
  for (const digest of [held.digest, small, absent]) {
    const request = { digest, index: 0, length: MIB };
    const { peerId } = server.swarm;
    await Promise.all(
      [
        link.have(digest, { count: 0, waitMs: 500 }, signal()),
        link.hashes(digest, 1024, signal()),
        link.statement(digest, signal()),
        link.blob(digest, signal()),
        client.swarm.transport.fetchChunk(peerId, request, signal()),
      ].map((asked) => assert.rejects(asked, code('NO_GRANT'))),
    );
  }
});

test('a grant for another peer, an expired one and a changed list are refused', async () => {
  await using fleet = new TestFleet();
  const { server, client, blob, link } = await fleet.linked(5 * MIB);
  const { digest } = blob;
  const nowMs = Date.now();
  const longAgo = { issuedAtMs: nowMs - 3_600_000, notAfterMs: nowMs - 1_800_000 };
  const changed = { ...fleet.grant([]), digests: [digest] };
  for (const bundle of [
    fleet.grant([digest], { peerId: server.swarm.peerId }),
    fleet.grant([digest], longAgo),
    changed,
  ]) {
    assert.equal(await link.openGrant(bundle, signal()), false);
  }
  await assert.rejects(link.statement(digest, signal()), code('NO_GRANT'));
  const own = fleet.grant([digest], { peerId: client.swarm.peerId });
  assert.equal(await link.openGrant(own, signal()), true);
  assert.ok(await link.statement(digest, signal()));
});

test('a grant that runs out closes what it had opened', async () => {
  await using fleet = new TestFleet();
  const { server, blob, link } = await fleet.linked(5 * MIB);
  await link.openGrant(fleet.grant([blob.digest]), signal());
  assert.ok(await link.statement(blob.digest, signal()));
  server.clock.nowMs += 10 * 60_000;
  await assert.rejects(link.statement(blob.digest, signal()), code('NO_GRANT'));
});

test('a clock that is set back does not hide that a peer is silent', async (t) => {
  await using fleet = new TestFleet();
  const asked = Promise.withResolvers<void>();
  const wrap = readingAfter(() => {
    asked.resolve();
    return new Promise(() => {});
  });
  const { client, blob, link } = await fleet.linked(5 * MIB, { bodyStallMs: 50, wrap });
  await link.openGrant(fleet.grant([blob.digest]), signal());
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const request = { digest: blob.digest, index: 0, length: MIB };
  const lost = client.swarm.streams.fetchChunk(link.peerId, request, signal());
  await Promise.all([
    assert.rejects(lost, code('TIMEOUT')),
    asked.promise.then(() => t.mock.timers.setTime(Date.now() - 3_600_000)),
  ]);
});

test('a grant whose key is revoked closes what it had opened', async () => {
  await using fleet = new TestFleet();
  const { server, blob, link } = await fleet.linked(5 * MIB);
  const bundle = fleet.grant([blob.digest]);
  await link.openGrant(bundle, signal());
  fleet.revokeGrantKey(server);
  await assert.rejects(link.statement(blob.digest, signal()), code('NO_GRANT'));
  assert.equal(await link.openGrant(bundle, signal()), false);
  assert.equal(await link.openGrant(fleet.grant([blob.digest]), signal()), true);
  assert.ok(await link.statement(blob.digest, signal()));
});

test('a public grant is relayed, a personal one is not', async () => {
  await using fleet = new TestFleet();
  const digest = digestOf(Buffer.from('a layer'));
  const open = fleet.grant([digest]);
  const someone = await fleet.identity();
  const personal = fleet.grant([digest], { peerId: someone.peerId });
  const relay = {
    ...NO_RELAY,
    publicGrant: (namespace: string) => (namespace === 'hub' ? open : personal),
  };
  const { server, client } = await fleet.pair({ relay });
  const link = await client.swarm.link(server.membership, signal());
  assert.deepEqual(await link.grant('hub', 'team/app', digest, signal()), open);
  assert.equal(await link.grant('docker.io', 'team/app', digest, signal()), undefined);
});

test('a small blob travels whole, and what is not there is not found', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const bytes = Buffer.alloc(4 * MIB, 7);
  const digest = server.content.addSmall(bytes);
  const absent = digestOf(Buffer.from('absent'));
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([digest, absent]), signal());
  assert.equal((await link.blob(digest, signal()))?.equals(bytes), true);
  assert.equal(await link.blob(absent, signal()), undefined);
  assert.equal(await link.have(absent, { count: 0, waitMs: 100 }, signal()), undefined);
});

test('a have that knows all waits for the next chunk', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const blob = fleet.blob(6 * MIB);
  server.content.add(blob, [2]);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  const news = link.have(blob.digest, { count: 1, waitMs: 1_000 }, signal());
  // Another question on the same stream is answered while the first one waits.
  assert.ok(await link.statement(blob.digest, signal()));
  server.content.gain(blob.digest, 4);
  const availability = await news;
  assert.deepEqual([...(availability?.bitmap.present() ?? [])], [2, 4]);
});

test('a ban cuts the connections and keeps the peer out both ways', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const link = await client.swarm.link(server.membership, signal());
  const waiting = link.have(fleet.blob(5 * MIB).digest, { count: 0, waitMs: 0 }, signal());
  await assert.rejects(waiting, code('NO_GRANT'));
  server.swarm.ban(client.swarm.peerId, 'chunk-mismatch', { index: 3 });
  await assert.rejects(link.peers(1, signal()), code('CLOSED'));
  await assert.rejects(client.swarm.link(server.membership, signal()), code('UNREACHABLE'));
  await assert.rejects(server.swarm.link(client.membership, signal()), code('BANNED'));
  assert.deepEqual(server.swarm.members(), []);
  const text = await server.metrics.text();
  assert.match(text, /swarm_peers_banned_total\{reason="chunk-mismatch"\} 1\n/);
});

test('a revoked membership loses its connections', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const link = await client.swarm.link(server.membership, signal());
  fleet.publish([server, client], [client.membership.serial]);
  await assert.rejects(link.peers(1, signal()), code('CLOSED'));
  await assert.rejects(client.swarm.link(server.membership, signal()), code('UNREACHABLE'));
});

test('a member of no snapshot yet is admitted on its certificate and becomes known', async () => {
  await using fleet = new TestFleet();
  const { server } = await fleet.pair();
  const late = await fleet.node('late');
  late.members.learn(fleet.certificate(server.membership));
  assert.equal(server.members.get(late.swarm.peerId), undefined);
  await late.swarm.link(server.membership, signal());
  assert.equal(server.members.get(late.swarm.peerId)?.membership.node, 'late');
});

test('while no hub answers, members are learned from one another', async () => {
  await using fleet = new TestFleet();
  const [server, other] = [await fleet.node('server'), await fleet.node('other')];
  fleet.publish([server, other]);
  const client = await fleet.node('client', { graceMs: 60_000 });
  const { promise: learned, resolve } = Promise.withResolvers<void>();
  client.members.learn(fleet.certificate(server.membership));
  client.members.onChange(() => resolve());
  await client.swarm.link(server.membership, signal());
  await learned;
  assert.equal(client.members.get(other.swarm.peerId)?.membership.node, 'other');
});

test('a link that nobody used is closed, and made again when asked for', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const link = await client.swarm.link(server.membership, signal());
  client.swarm.closeIdle();
  assert.equal(link.closed, false);
  client.clock.nowMs += LINK_IDLE_MS;
  client.swarm.closeIdle();
  assert.equal(link.closed, true);
  const again = await client.swarm.link(server.membership, signal());
  assert.deepEqual(await again.peers(1, signal()), []);
});

test('a clock that is set back keeps no idle link and prolongs no ban', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair();
  const { clock, swarm } = client;
  const link = await swarm.link(server.membership, signal());
  clock.steadyMs = clock.nowMs + LINK_IDLE_MS;
  clock.nowMs -= 1_800_000;
  swarm.closeIdle();
  assert.equal(link.closed, true);
  swarm.ban(link.peerId, 'protocol-violation', {});
  clock.steadyMs += BAN_BASE_MS - 1;
  assert.equal(swarm.isBanned(link.peerId), true);
  clock.steadyMs += 1;
  assert.equal(swarm.isBanned(link.peerId), false);
});

test('nodes exchange over IPv6', async () => {
  await using fleet = new TestFleet();
  const { server, client } = await fleet.pair({ host: '::1' });
  const blob = fleet.blob(5 * MIB);
  server.content.add(blob);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  const request = { digest: blob.digest, index: 0, length: MIB };
  const chunk = await client.swarm.transport.fetchChunk(link.peerId, request, signal());
  assert.equal(chunk.bytes.equals(blob.bytes.subarray(0, MIB)), true);
});
