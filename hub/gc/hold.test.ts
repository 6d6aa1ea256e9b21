import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GC_HOLD_MS, GC_HOLD_RENEW_MS } from './constants.ts';
import { whileHoldingRemovals } from './hold.ts';

const { signal } = new AbortController();

/** A catalog that keeps holds, or does not answer, or has lost them. */
function storeThat(answer: () => Promise<boolean>) {
  const ended: string[] = [];
  const store = {
    hold: async () => {},
    keepHold: answer,
    endHold: async (id: string) => void ended.push(id),
    heldUntil: async () => undefined,
  };
  return { store, ended };
}

test('a copy that the catalog was away from for too long is told to stop', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] });
  const { store, ended } = storeThat(() => Promise.reject(new Error('away')));
  const copying = whileHoldingRemovals(
    async ({ signal: stop }) => {
      for (let ms = 0; !stop.aborted; ms += GC_HOLD_RENEW_MS) {
        assert.ok(ms < GC_HOLD_MS, 'told before the hold ends');
        t.mock.timers.tick(GC_HOLD_RENEW_MS);
        await new Promise((resolve) => setImmediate(resolve));
      }
      throw stop.reason;
    },
    { store },
    { signal },
  );
  await assert.rejects(copying, { code: 'HOLD_LOST' });
  assert.equal(ended.length, 1);
});

test('a copy whose hold others ended fails, even if it did not look', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] });
  const { store } = storeThat(async () => false);
  const copying = whileHoldingRemovals(
    async () => {
      t.mock.timers.tick(GC_HOLD_RENEW_MS);
      await new Promise((resolve) => setImmediate(resolve));
    },
    { store },
    { signal },
  );
  await assert.rejects(copying, { code: 'HOLD_LOST' });
});

test('who holds removals off says so as long as it takes', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] });
  let kept = 0;
  const { store, ended } = storeThat(async () => {
    kept += 1;
    return true;
  });
  const work = async (): Promise<string> => {
    for (let i = 0; i < 30; i += 1) {
      t.mock.timers.tick(GC_HOLD_RENEW_MS);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return 'copied';
  };
  assert.equal(await whileHoldingRemovals(work, { store }, { signal }), 'copied');
  assert.deepEqual([kept, ended.length], [30, 1]);
});
