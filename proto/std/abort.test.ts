import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { mock, test } from 'node:test';
import { abortable, deadline, sleep } from './abort.ts';

const reason = new Error('enough');
const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

test('a sleep ends early with the reason of its signal', async () => {
  const controller = new AbortController();
  const slept = sleep(60_000, { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(slept, reason);
  await assert.rejects(sleep(60_000, { signal: controller.signal }), reason);
});

test('a deadline aborts with TIMEOUT, or with the reason of the outer signal', async () => {
  using short = deadline(1);
  await new Promise((resolve) => short.signal.addEventListener('abort', resolve));
  assert.throws(() => short.signal.throwIfAborted(), { code: 'TIMEOUT', message: /1 ms/ });
  const outer = new AbortController();
  using long = deadline(60_000, outer.signal);
  outer.abort(reason);
  assert.equal(long.signal.reason, reason);
  using late = deadline(60_000, outer.signal);
  assert.equal(late.signal.reason, reason);
});

test('a deadline that was disposed holds neither timer nor listener', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const outer = new AbortController();
  const limit = deadline(10, outer.signal);
  limit[Symbol.dispose]();
  mock.timers.tick(20);
  mock.timers.reset();
  assert.equal(limit.signal.aborted, false);
  assert.equal(listeners(outer.signal), 0);
});

test('a wait longer than a timer can count is not cut to nothing', async () => {
  const controller = new AbortController();
  const month = 30 * 86_400_000;
  using limit = deadline(month);
  const sleeping = sleep(month, { signal: controller.signal });
  const first = await Promise.race([sleeping, sleep(5).then(() => 'short')]);
  controller.abort(reason);
  await assert.rejects(sleeping, reason);
  assert.deepEqual([first, limit.signal.aborted], ['short', false]);
});

test('an abortable promise gives its result, or the reason when that comes first', async () => {
  const controller = new AbortController();
  assert.equal(await abortable(Promise.resolve(7), controller.signal), 7);
  await assert.rejects(abortable(Promise.reject(reason), controller.signal), reason);
  assert.equal(listeners(controller.signal), 0);
  const { promise, reject } = Promise.withResolvers<never>();
  const raced = abortable(promise, controller.signal);
  controller.abort(reason);
  await assert.rejects(raced, reason);
  // Nobody waits for it any more; its failure must not count as unhandled.
  reject(new Error('late'));
  await assert.rejects(abortable(Promise.resolve(7), controller.signal), reason);
});
