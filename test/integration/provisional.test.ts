import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { Agent } from '../../agent/agent.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { misbehaving } from '../rig/misbehaving-peer.ts';
import { ProvisionalFleet } from './provisional-fleet.ts';

const MIB = 1024 * 1024;
const BYTES = randomBytes(24 * MIB + 9);
const DIGEST = digestOf(BYTES);
/** What a broken upstream sends instead, from the middle on. */
const SENT = Buffer.concat([BYTES.subarray(0, 12 * MIB), randomBytes(12 * MIB + 9)]);

/** What a runtime reads of the blob; `error` when it was cut. */
async function pull(
  fleet: ProvisionalFleet,
  agent: Agent,
  digest: Digest = DIGEST,
): Promise<{ bytes: Buffer; error?: unknown }> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of await fleet.open(agent, digest)) pieces.push(Buffer.from(piece));
    return { bytes: Buffer.concat(pieces) };
  } catch (error) {
    return { bytes: Buffer.concat(pieces), error };
  }
}

/** Each of the agents has sent so much to runtimes. */
function sent(fleet: ProvisionalFleet, bytes: number): Promise<unknown> {
  const isSo = (value: number): boolean => value >= bytes;
  return Promise.all(
    fleet.agents.map((agent) => fleet.untilMetric(agent, 'mirror_sent_bytes_total', isSo)),
  );
}

/** The hub has so much of the blob, and agents that pull it have sent that on. */
async function underWay(fleet: ProvisionalFleet, bytes: number, source = BYTES) {
  await fleet.pushManifest(DIGEST, BYTES.length);
  const ingest = fleet.fetch(DIGEST, source);
  const pulls = fleet.agents.map((agent) => pull(fleet, agent));
  ingest.receive(bytes);
  await sent(fleet, bytes);
  return { ingest, pulls };
}

test('agents exchange and pass on a blob before the hub has fetched it', async () => {
  await using fleet = await ProvisionalFleet.start(3);
  const { ingest, pulls } = await underWay(fleet, 16 * MIB);
  const copies = (await fleet.sentBytes()) / (16 * MIB);
  assert.ok(copies <= 1.7, `${copies} copies left the hub`);
  await fleet.finish(ingest, BYTES);
  for (const { bytes, error } of await Promise.all(pulls)) {
    assert.equal(error, undefined);
    assert.ok(bytes.equals(BYTES));
  }
});

test('a blob of another digest reaches no runtime whole, and the next pull is right', async () => {
  await using fleet = await ProvisionalFleet.start(2);
  const { ingest, pulls } = await underWay(fleet, 20 * MIB, SENT);
  await fleet.finish(ingest);
  for (const { bytes, error } of await Promise.all(pulls)) {
    assert.ok(error !== undefined, 'the body was cut');
    assert.ok(bytes.length < BYTES.length);
  }
  for (const agent of fleet.agents) {
    // oxlint-disable-next-line no-await-in-loop -- one agent after the other
    await fleet.untilMetric(agent, 'provisional_revoked_reads_total', (reads) => reads === 1);
  }
  const named = fleet.logged.filter(({ remedy }) => String(remedy).includes('crictl rmi'));
  assert.equal(named.length, 2);
  const [first] = named;
  assert.equal(first?.['digest'], DIGEST);
  assert.equal(first['repository'], 'team/app');
  assert.equal(first['userAgent'], 'containerd/2');
  assert.match(String(first['address']), /127\.0\.0\.1/);
  const next = fleet.fetch(DIGEST, BYTES);
  const again = fleet.agents.map((agent) => pull(fleet, agent));
  next.receive(5 * MIB);
  await fleet.finish(next, BYTES);
  for (const { bytes } of await Promise.all(again)) assert.ok(bytes.equals(BYTES));
});

test('headers of a swarm-only blob come at once, its bytes when it is stored', async () => {
  await using fleet = await ProvisionalFleet.start(2);
  await fleet.pushManifest(DIGEST, BYTES.length);
  const ingest = fleet.fetch(DIGEST, BYTES, { provisional: 'swarm-only' });
  const opened = await Promise.all(fleet.agents.map((agent) => fleet.open(agent, DIGEST)));
  ingest.receive(20 * MIB);
  for (const agent of fleet.agents) {
    // oxlint-disable-next-line no-await-in-loop -- one agent after the other
    await fleet.untilMetric(agent, 'chunks_verified_total', (chunks) => chunks >= 20);
    // oxlint-disable-next-line no-await-in-loop -- one agent after the other
    await fleet.untilMetric(agent, 'mirror_sent_bytes_total', (bytes) => bytes < MIB);
  }
  await fleet.finish(ingest, BYTES);
  for (const body of opened) {
    const pieces: Buffer[] = [];
    // oxlint-disable-next-line no-await-in-loop -- one agent after the other
    for await (const piece of body) pieces.push(Buffer.from(piece));
    assert.ok(Buffer.concat(pieces).equals(BYTES));
  }
});

test('a peer that lies about a blob on its way is banned by those it lied to', async () => {
  await using fleet = await ProvisionalFleet.start(3, (content) =>
    misbehaving(content, { flipOneChunkIn: 1 }),
  );
  await fleet.pushManifest(DIGEST, BYTES.length);
  const ingest = fleet.fetch(DIGEST, BYTES);
  const pulls = fleet.agents.map((agent) => pull(fleet, agent));
  for (const agent of fleet.agents) {
    // oxlint-disable-next-line no-await-in-loop -- one agent after the other
    await fleet.untilMetric(agent, 'swarm_peers_connected', (peers) => peers === 2);
  }
  ingest.receive(20 * MIB);
  await sent(fleet, 20 * MIB);
  const banned = fleet.logged.filter(({ msg }) => /banning it/.test(String(msg)));
  assert.ok(banned.length > 0);
  assert.ok(
    banned.every(({ node }) => node === 'n0'),
    JSON.stringify(banned),
  );
  await fleet.finish(ingest, BYTES);
  for (const { bytes } of await Promise.all(pulls)) assert.ok(bytes.equals(BYTES));
});

test('when the hub begins anew, what its next session says too is not fetched again', async () => {
  await using fleet = await ProvisionalFleet.start(2);
  const { ingest, pulls } = await underWay(fleet, 16 * MIB);
  const before = await fleet.sentBytes();
  let second = ingest;
  await fleet.restartHub(() => {
    ingest.end('failed');
    second = fleet.fetch(DIGEST, BYTES);
  });
  second.receive(16 * MIB);
  await sent(fleet, 16 * MIB);
  await fleet.finish(second, BYTES);
  for (const { bytes, error } of await Promise.all(pulls)) {
    assert.equal(error, undefined);
    assert.ok(bytes.equals(BYTES));
  }
  const after = await fleet.sentBytes();
  assert.ok(after - before <= 2 * 9 * MIB, `${after - before} bytes after the restart`);
});
