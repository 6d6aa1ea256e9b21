import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { REPLAY_WINDOW_CALLS } from './constants.ts';
import { ReplayWindow } from './replay-window.ts';

const FROM = { id: 'a', joined: 5 };

test('each call is taken once, in whatever order calls of the window arrive', () => {
  const near = fc.nat(40).map((n) => n * 3 + 1);
  const sequence = fc.oneof(near, near, fc.nat(3 * REPLAY_WINDOW_CALLS));
  fc.assert(
    fc.property(fc.array(sequence, { maxLength: 80 }), (calls) => {
      const window = new ReplayWindow();
      const taken = new Set<number>();
      let top = 0;
      for (const call of calls) {
        top = Math.max(top, call);
        const isNew = !taken.has(call) && call > top - REPLAY_WINDOW_CALLS;
        assert.equal(window.take({ from: FROM, sequence: call }), isNew, `call ${call}`);
        taken.add(call);
      }
    }),
  );
});

test('calls of an earlier run of the sender are over, those of a later one begin anew', () => {
  const window = new ReplayWindow();
  assert.ok(window.take({ from: FROM, sequence: 7 }));
  assert.ok(window.take({ from: { id: 'b', joined: 1 }, sequence: 7 }));
  assert.ok(window.take({ from: { id: 'a', joined: 6 }, sequence: 7 }));
  assert.ok(!window.take({ from: FROM, sequence: 8 }));
  assert.ok(!window.take({ from: { id: 'a', joined: 6 }, sequence: 7 }));
});
