import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Remembered } from './remembered.ts';

const TTL_MS = 5000;

test('a row counts for its time from when it was asked for, however slow the answer', async () => {
  const clock = { nowMs: 1_000_000 };
  let reads = 0;
  const rows = new Remembered(
    { max: 10, ttlMs: TTL_MS, now: () => clock.nowMs },
    {
      load: async () => {
        clock.nowMs += TTL_MS - 1;
        return { read: ++reads };
      },
    },
  );
  assert.deepEqual(await rows.get('team'), { read: 1 });
  assert.deepEqual(await rows.get('team'), { read: 1 });
  clock.nowMs += 2;
  assert.deepEqual(await rows.get('team'), { read: 2 });
});
