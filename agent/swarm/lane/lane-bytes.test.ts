import {
  array,
  assert as check,
  asyncProperty,
  integer,
  nat,
  option,
  record,
  type Arbitrary,
} from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { hasCode } from '../../../proto/std/errors.ts';
import { LANE_PIPELINE_MAX } from './constants.ts';
import { signal } from './test-lane.ts';
import { CHUNK_BYTES, CountedBuffers, fetch, headOf, laneTo, type Answer } from './test-peer.ts';

const LANES = 3;
const ROUNDS = 2;
const POISON = 0xee;

/** A body that no other request of the run has. */
function bodyFor(lane: number, index: number): Buffer {
  const words = new Uint32Array(CHUNK_BYTES / 4).map(
    (_zero, at) => at * 1_000 + lane * 100 + index,
  );
  return Buffer.from(words.buffer);
}

const plans = record({
  /** Lengths the stream of answers is cut into, over and over. */
  cuts: array(integer({ min: 4_000, max: CHUNK_BYTES }), { minLength: 1, maxLength: 12 }),
  /** Which requests are given up, after so many turns. */
  aborts: array(option(nat(80), { freq: 2 }), { minLength: 24, maxLength: 24 }),
  /** How many turns a chunk is held. */
  holds: array(nat(20), { minLength: 8, maxLength: 8 }),
  /** Which lanes break, after so many pieces. */
  breaks: array(option(nat(60)), { minLength: LANES, maxLength: LANES }),
});
type Plan = typeof plans extends Arbitrary<infer T> ? T : never;

function answering(lane: number, plan: Plan): Answer {
  let left = Buffer.alloc(0);
  let piece = 0;
  let running = false;
  const breakAt = plan.breaks[lane] ?? Number.POSITIVE_INFINITY;
  return (id, index, socket, raw) => {
    left = Buffer.concat([left, headOf(id), bodyFor(lane, index)]);
    const run = async (): Promise<void> => {
      while (left.length > 0) {
        const length = plan.cuts[piece % plan.cuts.length] ?? 1;
        socket.write(left.subarray(0, length));
        left = left.subarray(length);
        // oxlint-disable-next-line no-await-in-loop -- pieces go out in order
        await turn();
        if (++piece > breakAt) raw.destroy();
      }
      running = false;
    };
    if (running) return;
    running = true;
    void run();
  };
}

/** Holds a chunk for a while, and spoils its buffer before it is lent again. */
async function use(chunk: { bytes: Buffer } & Disposable, expected: Buffer, turns: number) {
  assert.ok(chunk.bytes.equals(expected), 'a chunk has bytes that are not its own');
  // oxlint-disable-next-line no-await-in-loop -- one turn after the other
  for (let count = 0; count < turns; count++) await turn();
  assert.ok(chunk.bytes.equals(expected), 'a chunk changed while it was held');
  chunk.bytes.fill(POISON);
  chunk[Symbol.dispose]();
}

test('however bytes are cut and given up, a chunk is its own until disposed of', async () => {
  const property = asyncProperty(plans, async (plan) => {
    const buffers = new CountedBuffers();
    await using rigs = new AsyncDisposableStack();
    const tasks: Promise<void>[] = [];
    const violations: Error[][] = [];
    for (let lane = 0; lane < LANES; lane++) {
      // oxlint-disable-next-line no-await-in-loop -- one lane after the other
      const rig = rigs.use(await laneTo(answering(lane, plan), {}, buffers));
      const ask = async (index: number): Promise<void> => {
        const abort = new AbortController();
        const turns = plan.aborts[(lane * LANE_PIPELINE_MAX + index) % plan.aborts.length];
        const expire = async (count: number): Promise<void> => {
          // oxlint-disable-next-line no-await-in-loop -- one turn after the other
          for (let at = 0; at < count; at++) await turn();
          abort.abort(new Error('enough'));
        };
        if (typeof turns === 'number') void expire(turns);
        const o = { signal: AbortSignal.any([abort.signal, signal().signal]) };
        const chunk = await fetch(rig.lane, index, o).catch((err: unknown) => {
          assert.ok(abort.signal.aborted || hasCode(err, 'CLOSED'), String(err));
        });
        if (chunk) await use(chunk, bodyFor(lane, index), plan.holds[index % 8] ?? 0);
      };
      const rounds = async (): Promise<void> => {
        for (let round = 0; round < ROUNDS; round++) {
          const indices = Array.from({ length: LANE_PIPELINE_MAX }, (_unused, at) => at);
          // oxlint-disable-next-line no-await-in-loop -- one round after the other
          await Promise.all(indices.map((at) => ask(round * LANE_PIPELINE_MAX + at)));
        }
      };
      tasks.push(rounds());
      violations.push(rig.violations);
    }
    await Promise.all(tasks);
    assert.deepEqual(violations.flat(), []);
    await rigs.disposeAsync();
    assert.equal(buffers.bytesOut, 0);
  });
  await check(property, { numRuns: 8, endOnFailure: true });
});
