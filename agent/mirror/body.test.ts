import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { hasCode } from '../../proto/std/errors.ts';
import { BodyReader } from './body.ts';
import { BODY_STALL_MAX_MS } from './constants.ts';

test('a silent source is waited for as long as is configured, however long that is', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const stallMs = 2 * BODY_STALL_MAX_MS;
  const silent = Promise.withResolvers<never>();
  async function* read(): AsyncGenerator<Buffer, void, undefined> {
    yield await silent.promise;
  }
  const handle = { size: 9, read, [Symbol.dispose]: () => {} };
  const reader = new BodyReader(handle, { start: 0, end: 9 });
  let isOver = false;
  const next = reader.next({ stallMs, progress: () => 0 });
  const over = assert.rejects(next, (err) => hasCode(err, 'STALLED')).then(() => (isOver = true));
  t.mock.timers.tick(stallMs - 1);
  await turnOfTheLoop();
  assert.equal(isOver, false);
  t.mock.timers.tick(1);
  await over;
  reader.stop();
});
