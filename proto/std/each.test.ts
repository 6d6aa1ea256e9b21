import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { eachAtOnce } from './each.ts';

const ITEMS = [1, 2, 3, 4, 5, 6, 7];

test('each item has its turn, so many at a time', async () => {
  const { signal } = new AbortController();
  const done: number[] = [];
  let [now, most] = [0, 0];
  await eachAtOnce(ITEMS, { atOnce: 3, signal }, async (item) => {
    now += 1;
    most = Math.max(most, now);
    await setImmediate();
    done.push(item);
    now -= 1;
  });
  assert.deepEqual([done.toSorted((a, b) => a - b), most], [ITEMS, 3]);
});

test('when one fails the others are told, and have ended before the failure is', async () => {
  const { signal } = new AbortController();
  const begun: number[] = [];
  const ended: number[] = [];
  const work = async (item: number, o: { signal: AbortSignal }): Promise<void> => {
    begun.push(item);
    if (item === 2) throw new Error('cut');
    await new Promise((resolve) => o.signal.addEventListener('abort', resolve));
    await setImmediate();
    ended.push(item);
    throw o.signal.reason;
  };
  await assert.rejects(eachAtOnce(ITEMS, { atOnce: 3, signal }, work), { message: 'cut' });
  assert.deepEqual(
    [begun, ended],
    [
      [1, 2, 3],
      [1, 3],
    ],
  );
});

test('whoever gives up is told why, and nothing more begins', async () => {
  const stop = new AbortController();
  const begun: number[] = [];
  const all = eachAtOnce(ITEMS, { atOnce: 2, signal: stop.signal }, async (item) => {
    begun.push(item);
    if (item === 2) stop.abort(new Error('enough'));
    await setImmediate();
  });
  await assert.rejects(all, { message: 'enough' });
  assert.deepEqual(begun, [1, 2]);
});
