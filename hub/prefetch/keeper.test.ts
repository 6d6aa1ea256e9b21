import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { COPY_LOST_MS, COPY_RETRY_MS } from './constants.ts';
import { copyChange } from './keeper.ts';
import type { NodeRow, NodeState } from './store.ts';

const NOW_MS = 1_700_000_000_000;
const TWO = { choice: { nodes: '', copies: 2 }, reachMs: 60_000 };
const ALL = ['n1', 'n2', 'n3', 'n4'];

function row(node: string, state: NodeState, heardMsAgo = 0): NodeRow {
  const seenAtMs = NOW_MS - heardMsAgo;
  const bytes = { doneBytes: 0, totalBytes: 0 };
  return { orderId: 'a', node, state, reason: '', chosenAtMs: seenAtMs, seenAtMs, ...bytes };
}

function change(rows: NodeRow[], candidates = ALL) {
  return copyChange(TWO, rows, { candidates, nowMs: NOW_MS });
}

test('enough copies are left as they are, and so are those under way', () => {
  assert.deepEqual(change([row('n1', 'done'), row('n2', 'done')]), { add: [], drop: [] });
  assert.deepEqual(change([row('n1', 'done'), row('n2', 'running')]), { add: [], drop: [] });
});

test('a node that is gone, silent or out of the fleet is replaced by the next', () => {
  const kept = row('n2', 'done');
  assert.deepEqual(change([row('n1', 'done', COPY_LOST_MS), kept]).add, ['n3']);
  assert.deepEqual(change([row('n1', 'queued', 60_000), kept]).add, ['n3']);
  const gone = change([row('n1', 'done'), kept], ['n2', 'n3', 'n4']);
  assert.deepEqual(gone, { add: ['n3'], drop: ['n1'] });
});

test('a node that failed is chosen again after a while only', () => {
  const kept = row('n2', 'done');
  assert.deepEqual(change([row('n1', 'failed', 1000), kept]).add, ['n3']);
  assert.deepEqual(change([row('n1', 'failed', COPY_RETRY_MS + 1), kept]).add, ['n1']);
});

test('of more copies than wanted the last ones are let go', () => {
  const rows = ['n4', 'n1', 'n3'].map((node) => row(node, 'done'));
  assert.deepEqual(change(rows), { add: [], drop: ['n4'] });
});

test('whatever happens, as many as wanted are chosen as soon as there are enough nodes', () => {
  const states = fc.constantFrom<NodeState>('queued', 'running', 'done', 'failed');
  const rows = fc.uniqueArray(
    fc.record({ node: fc.constantFrom(...ALL), state: states, ago: fc.nat(2 * COPY_LOST_MS) }),
    { selector: ({ node }) => node },
  );
  fc.assert(
    fc.property(rows, fc.subarray(ALL), (some, candidates) => {
      const given = some.map(({ node, state, ago }) => row(node, state, ago));
      const { add, drop } = change(given, candidates);
      const left = given.filter(({ node }) => !drop.includes(node) && !add.includes(node));
      // What was chosen a moment ago counts in the next round: nothing changes again.
      const next = [...left, ...add.map((node) => row(node, 'queued'))];
      assert.deepEqual(change(next, candidates).add, []);
      assert.ok(left.every(({ node }) => candidates.includes(node)));
    }),
  );
});
