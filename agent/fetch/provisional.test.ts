import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { sleep } from '../../proto/std/abort.ts';
import type { BlobHandle } from './ports.ts';
import { TestFleet } from './test-rig.ts';
import type { TestAgent } from './test-rig.ts';

const LEAVES = 12;
const BYTES = randomBytes(LEAVES * LEAF_BYTES);
const DIGEST = digestOf(BYTES);
/** The same beginning, and other bytes from the middle on. */
const SENT = Buffer.concat([BYTES.subarray(0, 6 * LEAF_BYTES), randomBytes(6 * LEAF_BYTES)]);

async function withFleet(
  count: number,
  use: (fleet: TestFleet, agents: TestAgent[]) => Promise<void>,
): Promise<void> {
  const fleet = new TestFleet();
  try {
    const agents: TestAgent[] = [];
    // oxlint-disable-next-line no-await-in-loop -- in this order
    while (agents.length < count) agents.push(await fleet.agent());
    await use(fleet, agents);
  } finally {
    await fleet.close();
  }
}

/** Resolves when it is so. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  // oxlint-disable-next-line no-await-in-loop -- one look after the other
  while (!(await isSo())) await sleep(5);
}

/** A reader that goes on by itself, and what it has got so far. */
class Reading {
  readonly pieces: Buffer[] = [];
  readonly done: Promise<Buffer>;

  constructor(handle: BlobHandle) {
    this.done = this.#run(handle);
    this.done.catch(() => {});
  }

  get bytes(): number {
    return this.pieces.reduce((sum, { length }) => sum + length, 0);
  }

  async #run(handle: BlobHandle): Promise<Buffer> {
    using open = handle;
    for await (const bytes of open.read({ start: 0, end: open.size }, {})) {
      this.pieces.push(Buffer.from(bytes));
    }
    return Buffer.concat(this.pieces);
  }
}

async function read(agent: TestAgent, digest: Digest = DIGEST): Promise<Reading> {
  const client = { address: '10.0.0.7', userAgent: 'runtime/1' };
  const request = { ...(await agent.request(digest)), client };
  return new Reading(await agent.downloads.open(request, {}));
}

function held(agent: TestAgent): number {
  return agent.store.growing(DIGEST)?.have.count ?? 0;
}

test('agents share and read a blob while the hub still fetches it', () =>
  withFleet(3, async (fleet, agents) => {
    const session = fleet.hub.fetch(BYTES);
    const readings = await Promise.all(agents.map((agent) => read(agent)));
    session.receive(8);
    await until(() => agents.every((agent) => held(agent) === 8));
    await until(() => readings.every(({ bytes }) => bytes === 8 * LEAF_BYTES));
    assert.ok(fleet.hub.sentBytes < 16 * LEAF_BYTES, `${fleet.hub.sentBytes} bytes from the hub`);
    for (const agent of agents) assert.equal(agent.store.find(DIGEST), undefined);
    session.receive(LEAVES);
    await until(() => agents.every((agent) => held(agent) === LEAVES));
    await until(() => readings.every(({ bytes }) => bytes === BYTES.length - 1));
    fleet.hub.store(BYTES);
    session.end('stored');
    for (const { done } of readings) assert.ok((await done).equals(BYTES));
    await until(() => agents.every(({ store }) => store.find(DIGEST)?.complete === true));
    for (const agent of agents) assert.deepEqual(agent.bans, []);
  }));

test('a blob that turns out to be wrong is nowhere, and who has read of it is named', () =>
  withFleet(2, async (fleet, [one, other]) => {
    assert.ok(one && other);
    const session = fleet.hub.fetch(BYTES, { sent: SENT });
    const [reading, late] = [await read(one), await read(other)];
    session.receive(LEAVES);
    await until(() => held(one) === LEAVES && held(other) === LEAVES);
    await until(() => reading.bytes === BYTES.length - 1);
    session.end('revoked');
    await assert.rejects(reading.done, { code: 'REVOKED' });
    await assert.rejects(late.done, { code: 'REVOKED' });
    for (const agent of [one, other]) {
      await until(() => agent.downloads.active === 0);
      assert.equal(agent.store.growing(DIGEST), undefined);
      assert.equal(agent.store.find(DIGEST), undefined);
      assert.equal(agent.store.stats().reservedBytes, 0);
      assert.match(await agent.registry.text(), /provisional_revoked_reads_total 1\n/);
      assert.deepEqual(agent.bans, []);
    }
    const named = fleet.logged.filter(({ msg }) => /has read bytes/.test(String(msg)));
    assert.equal(named.length, 2);
    assert.match(JSON.stringify(named[0]), /"10.0.0.7".*"runtime\/1".*crictl rmi/);
    // The hub has the right bytes the next time.
    const next = fleet.hub.fetch(BYTES);
    const again = await read(one);
    next.receive(LEAVES);
    fleet.hub.store(BYTES);
    next.end('stored');
    assert.ok((await again.done).equals(BYTES));
  }));

test('swarm-only bytes are shared, and read by nobody before the blob is stored', () =>
  withFleet(2, async (fleet, agents) => {
    const session = fleet.hub.fetch(BYTES, { release: 'swarm-only' });
    const readings = await Promise.all(agents.map((agent) => read(agent)));
    session.receive(LEAVES);
    await until(() => agents.every((agent) => held(agent) === LEAVES));
    for (const { bytes } of readings) assert.equal(bytes, 0);
    fleet.hub.store(BYTES);
    session.end('stored');
    for (const { done } of readings) assert.ok((await done).equals(BYTES));
  }));

test('swarm-only bytes that turn out to be wrong were read by nobody', () =>
  withFleet(1, async (fleet, [agent]) => {
    assert.ok(agent);
    const session = fleet.hub.fetch(BYTES, { sent: SENT, release: 'swarm-only' });
    const reading = await read(agent);
    session.receive(LEAVES);
    await until(() => held(agent) === LEAVES);
    session.end('revoked');
    await assert.rejects(reading.done, { code: 'REVOKED' });
    assert.equal(reading.bytes, 0);
    assert.match(await agent.registry.text(), /provisional_revoked_reads_total 0\n/);
  }));

test('a peer that lies while the hub still fetches is banned, and the blob is right', () =>
  withFleet(3, async (fleet, agents) => {
    const [liar, ...others] = agents;
    assert.ok(liar);
    liar.manners = 'lies';
    const session = fleet.hub.fetch(BYTES);
    const readings = await Promise.all(agents.map((agent) => read(agent)));
    session.receive(LEAVES);
    await until(() => others.some(({ bans }) => bans.length > 0));
    await until(() => agents.every((agent) => held(agent) === LEAVES));
    fleet.hub.store(BYTES);
    session.end('stored');
    for (const { done } of readings) assert.ok((await done).equals(BYTES));
    const bans = agents.flatMap((agent) => agent.bans);
    assert.ok(bans.every((ban) => ban.peerId === liar.peerId && ban.reason === 'chunk-mismatch'));
  }));

test('of a session that ended with the hub, what the next one says too is kept', () =>
  withFleet(2, async (fleet, agents) => {
    const first = fleet.hub.fetch(BYTES);
    const readings = await Promise.all(agents.map((agent) => read(agent)));
    first.receive(8);
    await until(() => agents.every((agent) => held(agent) === 8));
    await until(() => readings.every(({ bytes }) => bytes === 8 * LEAF_BYTES));
    const sent = fleet.hub.sentBytes;
    const second = fleet.hub.fetch(BYTES);
    first.end('running');
    await until(() =>
      agents.every(
        ({ store }) =>
          store.growing(DIGEST)?.session === undefined ||
          store.growing(DIGEST)?.session.equals(second.id) === true,
      ),
    );
    assert.ok(
      agents.every((agent) => held(agent) === 0),
      'nobody stands by it now',
    );
    second.receive(8);
    await until(() => agents.every((agent) => held(agent) === 8));
    assert.equal(fleet.hub.sentBytes, sent, 'nothing was fetched again');
    second.receive(LEAVES);
    fleet.hub.store(BYTES);
    second.end('stored');
    for (const { done } of readings) assert.ok((await done).equals(BYTES));
    for (const agent of agents) assert.deepEqual(agent.bans, []);
  }));

test('of a session that ended with the hub, what the next one says otherwise is dropped', () =>
  withFleet(1, async (fleet, [agent]) => {
    assert.ok(agent);
    const first = fleet.hub.fetch(BYTES, { sent: SENT });
    const reading = await read(agent);
    first.receive(9);
    await until(() => reading.bytes === 9 * LEAF_BYTES);
    const second = fleet.hub.fetch(BYTES);
    first.end('running');
    second.receive(LEAVES);
    await assert.rejects(reading.done, { code: 'REVOKED' });
    assert.match(await agent.registry.text(), /provisional_revoked_reads_total 1\n/);
    const again = await read(agent);
    fleet.hub.store(BYTES);
    second.end('stored');
    assert.ok((await again.done).equals(BYTES));
    assert.deepEqual(agent.bans, []);
  }));

test('a hub that is gone for a while costs nothing of what was had', () =>
  withFleet(2, async (fleet, agents) => {
    const session = fleet.hub.fetch(BYTES);
    const readings = await Promise.all(agents.map((agent) => read(agent)));
    session.receive(8);
    await until(() => agents.every((agent) => held(agent) === 8));
    fleet.hub.down = true;
    session.end('running');
    fleet.hub.sessions.delete(DIGEST);
    fleet.hub.store(BYTES);
    await until(() => readings.every(({ bytes }) => bytes === 8 * LEAF_BYTES));
    fleet.hub.down = false;
    for (const { done } of readings) assert.ok((await done).equals(BYTES));
  }));

test('the agent stops in the middle, and nothing is left', () =>
  withFleet(1, async (fleet, [agent]) => {
    assert.ok(agent);
    const session = fleet.hub.fetch(BYTES);
    const reading = await read(agent);
    session.receive(4);
    await until(() => reading.bytes === 4 * LEAF_BYTES);
    await agent.downloads.close();
    await assert.rejects(reading.done, { code: 'CLOSED' });
    assert.equal(agent.store.growing(DIGEST), undefined);
    assert.equal(agent.store.stats().reservedBytes, 0);
  }));

test('in a repository of an upstream, leaves are asked for before the size', () =>
  withFleet(1, async (fleet, [agent]) => {
    assert.ok(agent);
    const session = fleet.hub.fetch(BYTES);
    session.receive(LEAVES);
    const repository = parseRepository('docker.io/library/app');
    const request = { ...(await agent.request(DIGEST)), repository };
    const reading = new Reading(await agent.downloads.open(request, {}));
    assert.equal(fleet.hub.heads, 0);
    fleet.hub.store(BYTES);
    session.end('stored');
    assert.ok((await reading.done).equals(BYTES));
    const small = fleet.hub.addBlob(1_000);
    const other = { ...(await agent.request(small.digest)), repository };
    assert.ok((await new Reading(await agent.downloads.open(other, {})).done).equals(small.bytes));
    assert.equal(fleet.hub.heads, 1);
  }));
