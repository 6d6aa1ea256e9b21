import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { layoutOf } from '../../../proto/chunks/layout.ts';
import { ChunkBitmap } from '../../../proto/swarm/bitmap.ts';
import { encodeLaneHave, LANE_HAVE_MAX_BYTES, LANE_HEAD_BYTES } from '../../../proto/swarm/lane.ts';
import { code } from '../test-fleet.ts';
import { LANE_NEWS_TURN_MS, LANE_QUESTIONS_MAX } from './constants.ts';
import type { LaneSocket } from './lane-socket.ts';
import { MIB } from './test-lane.ts';
import { bodyOf, fetch, have, headOf, laneTo, type Answer } from './test-peer.ts';

const SIZE = 70 * MIB;
const HELD = 37;

function told(id: number): Buffer {
  const bitmap = new ChunkBitmap(layoutOf(SIZE).chunkCount);
  bitmap.set(HELD);
  const body = encodeLaneHave({ size: SIZE, bitmap });
  return Buffer.concat([headOf(id, { bodyBytes: body.length }), body]);
}

const chunk: Answer = (id, index, socket) => {
  socket.write(Buffer.concat([headOf(id), bodyOf(index)]));
};

test('an answer that comes byte by byte, before, after and between chunks, is read', async () => {
  const ids: number[] = [];
  const between: Answer = (id, index, socket) => {
    const news = Buffer.concat(ids.splice(0).map(told));
    socket.write(Buffer.concat([headOf(id), bodyOf(index)]));
    for (const byte of news) socket.write(Buffer.of(byte));
  };
  await using rig = await laneTo(between, { tell: (id) => void ids.push(id) });
  const answers = [have(rig.lane), have(rig.lane)];
  for (const index of [1, 2]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    using got = await fetch(rig.lane, index);
    assert.ok(got.bytes.equals(bodyOf(index)));
  }
  for (const { size, bitmap, complete } of await Promise.all(answers)) {
    assert.deepEqual([size, [...bitmap.present()], complete], [SIZE, [HELD], false]);
  }
  assert.deepEqual(rig.violations, []);
});

test('what is no answer to a question is a breach', async () => {
  const wrong = [
    (id: number) => headOf(id, { bodyBytes: LANE_HAVE_MAX_BYTES + 1 }),
    (id: number) => headOf(id, { status: 'busy', bodyBytes: 1 }),
    (id: number) => headOf(id, { bodyBytes: 0 }),
    (id: number) => told(id).fill(0xff, LANE_HEAD_BYTES + 8),
    (id: number) => told(id + 1),
    (id: number) => Buffer.concat([told(id), told(id)]),
  ];
  for (const answer of wrong) {
    // oxlint-disable no-await-in-loop -- one after the other
    await using rig = await laneTo(chunk, {
      tell: (id, socket) => void socket.write(answer(id)),
    });
    // The first of two answers is good.
    await Promise.allSettled([have(rig.lane)]);
    await assert.rejects(have(rig.lane), code('CLOSED'));
    assert.equal(rig.violations.length, 1);
    // oxlint-enable no-await-in-loop
  }
});

test('a refusal is told as what it is, and the lane goes on', async () => {
  const refuse = { status: 'noGrant', bodyBytes: 0 } as const;
  await using rig = await laneTo(chunk, {
    tell: (id, socket) => void socket.write(headOf(id, refuse)),
  });
  await assert.rejects(have(rig.lane), code('NO_GRANT'));
  using got = await fetch(rig.lane, 0);
  assert.ok(got.bytes.equals(bodyOf(0)));
});

test('a lane that owes an answer, or carries chunks, is not free for a question', async () => {
  const asked = Promise.withResolvers<() => void>();
  await using rig = await laneTo(chunk, {
    tell: (id, socket) => asked.resolve(() => void socket.write(told(id))),
  });
  assert.equal(rig.lane.isFree, true);
  const abort = new AbortController();
  const left = assert.rejects(have(rig.lane, abort), /enough/);
  const answer = await asked.promise;
  abort.abort(new Error('enough'));
  await left;
  assert.equal(rig.lane.isFree, false);
  const fetching = fetch(rig.lane, 0);
  answer();
  (await fetching)[Symbol.dispose]();
  const second = fetch(rig.lane, 1);
  assert.equal(rig.lane.isFree, false);
  (await second)[Symbol.dispose]();
  assert.deepEqual([rig.lane.isFree, rig.violations], [true, []]);
});

test('behind a chunk a question goes on a lane whose chunks come quickly', async (t) => {
  let nowMs = 1;
  t.mock.method(performance, 'now', () => nowMs);
  let gate = Promise.resolve();
  const gated: Answer = (...answer) => void gate.then(() => chunk(...answer));
  await using rig = await laneTo(gated, {
    tell: (id, socket) => void socket.write(told(id)),
  });
  const { lane } = rig;
  assert.equal(lane.isQuick, false, 'nobody knows yet');
  (await fetch(lane, 0))[Symbol.dispose]();
  const held = Promise.withResolvers<void>();
  gate = held.promise;
  const second = fetch(lane, 1);
  assert.deepEqual([lane.isFree, lane.isQuick], [false, true]);
  assert.equal((await have(lane)).size, SIZE);
  nowMs += LANE_NEWS_TURN_MS + 1;
  assert.equal(lane.isQuick, false, 'it takes long now');
  held.resolve();
  (await second)[Symbol.dispose]();
  assert.deepEqual([lane.isFree, lane.isQuick], [true, false]);
  (await fetch(lane, 2))[Symbol.dispose]();
  assert.equal(lane.isQuick, true);
  lane.close();
  assert.equal(lane.isQuick, false);
});

test('no more questions wait on a lane than the other side takes', async () => {
  await using rig = await laneTo(chunk);
  const open = Array.from({ length: LANE_QUESTIONS_MAX }, () => have(rig.lane));
  assert.equal(rig.lane.isFree, false);
  const closed = Promise.all(open.map((one) => assert.rejects(one, code('CLOSED'))));
  rig.lane.close();
  await closed;
});

type Use = (lane: LaneSocket) => Promise<void>;
const asks: Use = async (lane) => void (await have(lane));
const breaks: Use = (lane) => assert.rejects(fetch(lane, 0), code('CLOSED'));
const broken: Answer = (_id, _index, _socket, raw) => raw.resetAndDestroy();
const tell = (id: number, socket: TLSSocket): void => void socket.write(told(id));

test('a lane has failed when it ended without doing what it was asked for', async () => {
  const cases: [uses: Use[], failed: boolean][] = [
    [[], false],
    [[asks], false],
    [[breaks], true],
    [[asks, breaks], true],
  ];
  for (const [uses, failed] of cases) {
    // oxlint-disable no-await-in-loop -- one after the other
    await using rig = await laneTo(broken, { tell });
    for (const use of uses) await use(rig.lane);
    rig.lane.close();
    assert.equal(rig.lane.failed, failed);
    // oxlint-enable no-await-in-loop
  }
  await using rig = await laneTo(chunk, { tell: (_id, socket) => void socket.destroy() });
  await assert.rejects(have(rig.lane), code('CLOSED'));
  assert.equal(rig.lane.failed, true);
});

test('a lane without a byte since a question that got no answer in time is given up', async () => {
  await using rig = await laneTo(chunk);
  const sinceMs = performance.now();
  const open = assert.rejects(have(rig.lane), code('TIMEOUT'));
  (await fetch(rig.lane, 0))[Symbol.dispose]();
  rig.lane.unanswered(sinceMs);
  assert.equal(rig.lane.closed, false, 'bytes have come');
  const chunkUnderWay = fetch(rig.lane, 1);
  rig.lane.unanswered(performance.now());
  assert.equal(rig.lane.closed, false, 'a chunk is on its way');
  (await chunkUnderWay)[Symbol.dispose]();
  rig.lane.unanswered(performance.now());
  await open;
  assert.equal(rig.lane.closed, true);
});
