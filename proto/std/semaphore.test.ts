import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Semaphore } from './semaphore.ts';

test('never more permits are out than there are, and all are served in order', async () => {
  const wishes = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(wishes, async (sizes) => {
      const semaphore = new Semaphore({ permits: 5, queueMax: 100 });
      const served: number[] = [];
      await Promise.all(
        sizes.map(async (permits, i) => {
          using turn = await semaphore.acquire({ permits });
          served.push(i);
          assert.ok(turn && semaphore.inUse <= 5);
          await setImmediate();
        }),
      );
      assert.deepEqual(served, [...sizes.keys()]);
      assert.deepEqual([semaphore.inUse, semaphore.waiting], [0, 0]);
    }),
    { numRuns: 50 },
  );
});

test('the queue is bounded', async () => {
  const semaphore = new Semaphore({ permits: 1, queueMax: 1 });
  const first = await semaphore.acquire();
  const second = semaphore.acquire();
  await assert.rejects(semaphore.acquire(), { code: 'QUEUE_FULL' });
  first[Symbol.dispose]();
  (await second)[Symbol.dispose]();
});

test('one who gives up is not counted, and does not hold up those behind', async () => {
  const semaphore = new Semaphore({ permits: 2, queueMax: 5 });
  const held = await semaphore.acquire();
  const controller = new AbortController();
  const large = semaphore.acquire({ permits: 2, signal: controller.signal });
  const small = semaphore.acquire();
  controller.abort(new Error('gone'));
  await assert.rejects(large, /gone/);
  const other = await small;
  assert.deepEqual([semaphore.inUse, semaphore.waiting], [2, 0]);
  held[Symbol.dispose]();
  other[Symbol.dispose]();
  assert.equal(semaphore.inUse, 0);
});

test('a permit given back twice counts once', async () => {
  const semaphore = new Semaphore({ permits: 2, queueMax: 0 });
  const [first] = [await semaphore.acquire(), await semaphore.acquire()];
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(semaphore.inUse, 1);
});

test('more than there are in all is refused at once, not waited for', async () => {
  const semaphore = new Semaphore({ permits: 2, queueMax: 5 });
  for (const permits of [3, -1, 0.5, Number.NaN]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(semaphore.acquire({ permits }), { code: 'PERMITS_INVALID' });
  }
  (await semaphore.acquire({ permits: 2 }))[Symbol.dispose]();
});

test('a permit taken without waiting passes nobody who waits', async () => {
  const semaphore = new Semaphore({ permits: 1, queueMax: 1 });
  const first = semaphore.tryAcquire();
  assert.ok(first);
  assert.equal(semaphore.tryAcquire(), undefined);
  const waits = semaphore.acquire();
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(semaphore.inUse, 1);
  assert.equal(semaphore.tryAcquire(), undefined, 'the permit is of the one who waited');
  (await waits)[Symbol.dispose]();
  assert.equal(semaphore.inUse, 0);
});
