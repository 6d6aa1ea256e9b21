import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { sleep } from '../../proto/std/abort.ts';
import { EARLY_CHUNKS_MAX } from './constants.ts';
import { TestFleet } from './test-rig.ts';
import type { TestAgent } from './test-rig.ts';
import type { TestSession } from './test-session.ts';

const LEAVES = 6;
const BYTES = randomBytes(LEAVES * LEAF_BYTES);
const DIGEST = digestOf(BYTES);
const UPSTREAM = parseRepository('docker.io/library/app');

async function withAgent(use: (fleet: TestFleet, agent: TestAgent) => Promise<void>) {
  const fleet = new TestFleet();
  try {
    await use(fleet, await fleet.agent());
  } finally {
    await fleet.close();
  }
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  // oxlint-disable-next-line no-await-in-loop -- one look after the other
  while (!(await isSo())) await sleep(2);
}

/** A reader of the blob from its beginning. */
class Reading {
  bytes = 0;
  readonly done: Promise<Buffer>;

  constructor(agent: TestAgent, digest: Digest = DIGEST) {
    this.done = this.#run(agent, digest);
    this.done.catch(() => {});
  }

  async #run(agent: TestAgent, digest: Digest): Promise<Buffer> {
    const pieces: Buffer[] = [];
    const request = { ...(await agent.request(digest)), repository: UPSTREAM };
    using open = await agent.downloads.open(request, {});
    for await (const piece of open.read({ start: 0, end: open.size }, {})) {
      pieces.push(Buffer.from(piece));
      this.bytes += piece.length;
    }
    return Buffer.concat(pieces);
  }
}

/** The hub has all of it. */
function finish(fleet: TestFleet, session: TestSession, bytes = BYTES): void {
  session.receive(bytes.length / LEAF_BYTES);
  fleet.hub.store(bytes);
  session.end('stored');
}

test('the first chunk is on its way before its leaf, and is fetched once', () =>
  withAgent(async (fleet, agent) => {
    const session = fleet.hub.fetch(BYTES);
    const reading = new Reading(agent);
    await until(() => session.waiting.has(0));
    assert.equal(reading.bytes, 0);
    session.receive(1);
    await until(() => reading.bytes === LEAF_BYTES);
    assert.equal(fleet.hub.sentBytes, LEAF_BYTES);
    finish(fleet, session);
    assert.ok((await reading.done).equals(BYTES));
    assert.equal(fleet.hub.sentBytes, BYTES.length);
  }));

test('of a first chunk that is not what its leaf says nobody gets a byte', () =>
  withAgent(async (fleet, agent) => {
    let sent = 0;
    fleet.hub.tamper = (bytes) => {
      sent += 1;
      return sent === 1 ? Buffer.alloc(bytes.length) : bytes;
    };
    const session = fleet.hub.fetch(BYTES);
    const reading = new Reading(agent);
    await until(() => session.waiting.has(0));
    session.receive(1);
    await until(() => reading.bytes > 0);
    assert.match(await agent.registry.text(), /rejected_total\{reason="hub_mismatch"\} 1\n/);
    finish(fleet, session);
    assert.ok((await reading.done).equals(BYTES));
  }));

test('bytes without a leaf are given to nobody', () =>
  withAgent(async (fleet, agent) => {
    // As a hub that has the bytes, and whose word for them is late.
    const session = fleet.hub.fetch(BYTES);
    let hasSent = false;
    session.part = async (start, end) => {
      hasSent = true;
      return BYTES.subarray(start, end);
    };
    const reading = new Reading(agent);
    await until(() => hasSent);
    // What is asked after that is answered after it.
    const asked = session.asked;
    await until(() => session.asked > asked + 1);
    assert.equal(reading.bytes, 0);
    assert.equal(agent.store.growing(DIGEST)?.have.count, 0);
    session.end('revoked');
    await assert.rejects(reading.done, { code: 'REVOKED' });
    assert.equal(reading.bytes, 0);
    assert.match(await agent.registry.text(), /provisional_revoked_reads_total 0\n/);
    await until(() => agent.downloads.active === 0);
    assert.equal(agent.store.stats().reservedBytes, 0);
  }));

test('a hub that gives no byte before the leaf is asked again after it', () =>
  withAgent(async (fleet, agent) => {
    const session = fleet.hub.fetch(BYTES);
    const part = session.part.bind(session);
    let refused = 0;
    session.part = async () => {
      refused += 1;
      throw new Error('not before its leaf');
    };
    const reading = new Reading(agent);
    await until(() => refused === 1);
    session.part = part;
    session.receive(1);
    await until(() => reading.bytes === LEAF_BYTES);
    finish(fleet, session);
    assert.ok((await reading.done).equals(BYTES));
  }));

test('an upstream that never gives a byte takes nothing from an agent that stops', () =>
  withAgent(async (fleet, agent) => {
    const session = fleet.hub.fetch(BYTES);
    const reading = new Reading(agent);
    await until(() => session.waiting.has(0));
    await agent.downloads.close();
    await assert.rejects(reading.done, { code: 'CLOSED' });
    assert.equal(session.waiting.size, 0);
    assert.equal(agent.store.stats().reservedBytes, 0);
  }));

test('a hub that begins anew before the first leaf is asked anew', () =>
  withAgent(async (fleet, agent) => {
    const first = fleet.hub.fetch(BYTES, { sent: randomBytes(BYTES.length) });
    const reading = new Reading(agent);
    await until(() => first.waiting.has(0));
    const second = fleet.hub.fetch(BYTES);
    first.end('running');
    await until(() => first.waiting.size === 0);
    finish(fleet, second);
    assert.ok((await reading.done).equals(BYTES));
    assert.match(await agent.registry.text(), /rejected_total\{reason="hub_mismatch"\} 0\n/);
  }));

test('only so many chunks wait for their leaves, and all blobs come', () =>
  withAgent(async (fleet, agent) => {
    const blobs = Array.from({ length: EARLY_CHUNKS_MAX + 3 }, () =>
      randomBytes(LEAVES * LEAF_BYTES),
    );
    const sessions = blobs.map((bytes) => fleet.hub.fetch(bytes));
    const readings = blobs.map((bytes) => new Reading(agent, digestOf(bytes)));
    const waiting = () => sessions.filter((session) => session.waiting.size > 0).length;
    await until(() => waiting() >= EARLY_CHUNKS_MAX);
    await until(() => sessions.every(({ asked }) => asked > 2));
    assert.equal(waiting(), EARLY_CHUNKS_MAX);
    for (const [at, session] of sessions.entries()) finish(fleet, session, blobs[at]);
    for (const [at, { done }] of readings.entries()) {
      const whole = blobs[at];
      assert.ok(whole !== undefined && (await done).equals(whole));
    }
  }));

test('what nobody reads is not asked for before its leaf', () =>
  withAgent(async (fleet, agent) => {
    const session = fleet.hub.fetch(BYTES);
    const request = { ...(await agent.request(DIGEST)), repository: UPSTREAM };
    const fetched = agent.downloads.prefetch(request, {});
    await fleet.hub.announced(DIGEST);
    await until(() => session.asked > 2);
    assert.equal(session.waiting.size, 0);
    finish(fleet, session);
    await fetched;
    assert.equal(agent.store.find(DIGEST)?.complete, true);
  }));

test('a reader has its bytes while the disk still writes them', () =>
  withAgent(async (fleet, agent) => {
    const session = fleet.hub.fetch(BYTES);
    const reading = new Reading(agent);
    await until(() => session.waiting.has(0));
    const blob = agent.store.growing(DIGEST);
    assert.ok(blob);
    const disk = Promise.withResolvers<void>();
    const write = blob.write.bind(blob);
    blob.write = async (index, bytes, begun) => {
      begun?.();
      await disk.promise;
      return write(index, bytes);
    };
    session.receive(1);
    await until(() => reading.bytes === LEAF_BYTES);
    assert.equal(blob.have.count, 0);
    disk.resolve();
    finish(fleet, session);
    assert.ok((await reading.done).equals(BYTES));
  }));
