import assert from 'node:assert/strict';
import { test } from 'node:test';
import { abortable } from '../../../proto/std/abort.ts';
import { LANE_HEAD_BYTES } from '../../../proto/swarm/lane.ts';
import { code } from '../test-fleet.ts';
import { signal } from './test-lane.ts';
import { bodyOf, CHUNK_BYTES, fetch, headOf, laneTo, type Answer } from './test-peer.ts';

const DRIP_MS = 20;

test('a lane that the peer resets is closed, as one that it ends', async () => {
  await using rig = await laneTo((_id, _index, _socket, raw) => raw.resetAndDestroy());
  await assert.rejects(fetch(rig.lane, 0), code('CLOSED'));
  await assert.rejects(fetch(rig.lane, 0), code('CLOSED'));
  assert.deepEqual(rig.violations, []);
});

test('a body that trickles is given up like one that stalls', async () => {
  const trickle: Answer = (id, _index, socket) => {
    socket.write(headOf(id));
    const timer = setInterval(() => socket.write('x'), DRIP_MS);
    socket.on('close', () => clearInterval(timer));
  };
  await using rig = await laneTo(trickle, { bodyMs: DRIP_MS * 20 });
  await assert.rejects(fetch(rig.lane, 0), code('TIMEOUT'));
  assert.equal(rig.lane.closed, true);
});

test('a silent lane is given up as soon as its peer answers nowhere else', async () => {
  await using rig = await laneTo(() => {}, { doubtMs: DRIP_MS, answers: async () => false });
  await assert.rejects(fetch(rig.lane, 0), code('TIMEOUT'));
  assert.equal(rig.lane.closed, true);
});

test('a silent lane is kept while its peer answers elsewhere, or begins to answer', async () => {
  for (const isAlive of [true, false]) {
    const answer = Promise.withResolvers<() => void>();
    let doubts = 0;
    const answers = async (): Promise<boolean> => {
      doubts++;
      (await answer.promise)();
      if (!isAlive) await abortable(rig.buffers.first.promise, signal().signal);
      return isAlive;
    };
    // oxlint-disable no-await-in-loop -- one after the other
    await using rig = await laneTo(
      (id, index, socket) => {
        const bytes = Buffer.concat([headOf(id), bodyOf(index)]);
        answer.resolve(() => void socket.write(bytes));
      },
      { doubtMs: DRIP_MS, answers },
    );
    using chunk = await fetch(rig.lane, 2);
    assert.ok(chunk.bytes.equals(bodyOf(2)));
    assert.ok(doubts > 0);
    assert.equal(rig.lane.closed, false);
    // oxlint-enable no-await-in-loop
  }
});

test('bytes that nobody asked for are a breach, what came before them is good', async () => {
  await using rig = await laneTo((id, index, socket) => {
    socket.write(Buffer.concat([headOf(id), bodyOf(index), Buffer.alloc(LANE_HEAD_BYTES)]));
  });
  using chunk = await fetch(rig.lane, 3);
  assert.ok(chunk.bytes.equals(bodyOf(3)));
  await assert.rejects(fetch(rig.lane, 4), code('PROTOCOL'));
  assert.equal(rig.violations.length, 1);
});

test('an answer to another request, of another length or of no meaning is a breach', async () => {
  const answers = [
    (id: number) => headOf(id + 1),
    (id: number) => headOf(id, { bodyBytes: CHUNK_BYTES - 1 }),
    (id: number) => headOf(id, { bodyBytes: CHUNK_BYTES + 1 }),
    (id: number) => headOf(id, { status: 'busy' }),
    (id: number) => headOf(id).fill(0xff, 4, 8),
  ];
  for (const answer of answers) {
    // oxlint-disable no-await-in-loop -- one after the other
    await using rig = await laneTo((id, _index, socket) => void socket.write(answer(id)));
    await assert.rejects(fetch(rig.lane, 0), code('PROTOCOL'));
    assert.equal(rig.violations.length, 1);
    assert.equal(rig.buffers.bytesOut, 0);
    // oxlint-enable no-await-in-loop
  }
});

test('the buffer of a body that was cut is not lent again', async () => {
  await using rig = await laneTo((id, index, socket) => {
    socket.end(Buffer.concat([headOf(id), bodyOf(index).subarray(CHUNK_BYTES / 2)]));
  });
  await assert.rejects(fetch(rig.lane, 0), code('CLOSED'));
  assert.equal(rig.buffers.bytesOut, 0);
  assert.equal(rig.buffers.bytesKept, 0);
});

test('the body of a request that was given up takes no memory and spoils no other', async () => {
  const release = Promise.withResolvers<void>();
  const answer: Answer = (id, index, socket) => {
    const bytes = Buffer.concat([headOf(id), bodyOf(index)]);
    if (index > 0) return void release.promise.then(() => socket.write(bytes));
    socket.write(bytes.subarray(0, CHUNK_BYTES / 2));
    void release.promise.then(() => socket.write(bytes.subarray(CHUNK_BYTES / 2)));
    return undefined;
  };
  await using rig = await laneTo(answer);
  const abort = new AbortController();
  const left = assert.rejects(fetch(rig.lane, 0, abort), /enough/);
  const aborted = assert.rejects(fetch(rig.lane, 1, abort), /enough/);
  await abortable(rig.buffers.first.promise, signal().signal);
  abort.abort(new Error('enough'));
  await Promise.all([left, aborted]);
  // The rest of the body may still be written into it.
  assert.equal(rig.buffers.bytesKept, 0);
  const next = fetch(rig.lane, 2);
  release.resolve();
  using chunk = await next;
  assert.ok(chunk.bytes.equals(bodyOf(2)));
  assert.equal(rig.buffers.bytesOut, CHUNK_BYTES);
  assert.equal(rig.buffers.taken, 2);
  assert.equal(rig.lane.load, 0);
});
