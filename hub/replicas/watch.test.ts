import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HEARTBEAT_MS, LAPSE_MS, TAKEOVER_MS } from './constants.ts';
import type { ReplicaRow } from './store.ts';
import { Watch } from './watch.ts';

function row(id: string, beat: number, joined = 1): ReplicaRow {
  return { id, url: '', joined, beat, seen: 1 };
}

/** Looks at replicas with one heartbeat, every HEARTBEAT_MS up to `untilMs`; who stands still. */
function watched(watch: Watch, rows: ReplicaRow[], fromMs: number, untilMs: number): string[] {
  let still: ReplicaRow[] = [];
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += HEARTBEAT_MS) still = watch.look(rows, nowMs);
  return still.map(({ id }) => id);
}

test('a replica stands still when no heartbeat came for TAKEOVER_MS of looking', () => {
  const watch = new Watch();
  assert.deepEqual(watched(watch, [row('a', 7)], 0, TAKEOVER_MS - HEARTBEAT_MS), []);
  assert.deepEqual(watched(watch, [row('a', 8)], TAKEOVER_MS, TAKEOVER_MS), []);
  const end = 2 * TAKEOVER_MS;
  assert.deepEqual(watched(watch, [row('a', 8)], TAKEOVER_MS + HEARTBEAT_MS, end), ['a']);
});

test('another run of the same hub is looked at anew', () => {
  const watch = new Watch();
  watched(watch, [row('a', 7)], 0, TAKEOVER_MS - HEARTBEAT_MS);
  assert.deepEqual(watch.look([row('a', 7, 2)], TAKEOVER_MS), []);
});

test('after a time without a look nobody stands still: perhaps nobody could', () => {
  const watch = new Watch();
  const rows = [row('a', 7), row('b', 7)];
  watched(watch, rows, 0, TAKEOVER_MS - HEARTBEAT_MS);
  const wokeMs = TAKEOVER_MS + LAPSE_MS;
  const almost = wokeMs + TAKEOVER_MS - HEARTBEAT_MS;
  assert.deepEqual(watched(watch, rows, wokeMs, almost), []);
  assert.deepEqual(watch.look(rows, wokeMs + TAKEOVER_MS), rows);
});
