import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { RateBudget } from '../../proto/std/rate-budget.ts';
import { UploadSlots } from './upload-slots.ts';

it('refuses a body for which the link has no room soon, and keeps nothing of it', async () => {
  const rate = new RateBudget({ bytesPerSecond: 1_000_000, now: () => 0 });
  const slots = new UploadSlots({ uploads: 2, rate });
  const first = await slots.acquire('a', 200_000);
  assert.ok(first);
  assert.equal(await slots.acquire('b', 3_000_000), undefined);
  assert.equal(slots.inUse, 1);
  const small = await slots.acquire('b', 50_000);
  assert.ok(small, 'what was refused has used nothing up');
  small[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(slots.inUse, 0);
});

it('gives the turn back at once when whoever asked is gone', async () => {
  const rate = new RateBudget({ bytesPerSecond: 1_000_000, now: () => 0 });
  const slots = new UploadSlots({ uploads: 1, rate });
  rate.take(2_000_000);
  const gone = new AbortController();
  const reason = new Error('gone');
  const waits = slots.acquire('a', 50_000, gone);
  const queued = slots.acquire('b', 50_000, gone);
  await setImmediate();
  assert.equal(slots.inUse, 1);
  gone.abort(reason);
  await assert.rejects(waits, reason);
  await assert.rejects(queued, reason);
  assert.equal(slots.inUse, 0);
});

it('lends a buffer to nobody again that a connection may still send from', async () => {
  const slots = new UploadSlots({ uploads: 1 });
  const bufferOf = async (how: 'given back' | 'discarded'): Promise<Buffer> => {
    using slot = await slots.acquire('a', 50_000);
    assert.ok(slot);
    const buffer = slot.buffer(0, 50_000);
    if (how === 'discarded') slot.discardBuffers();
    return buffer;
  };
  const first = await bufferOf('given back');
  assert.equal(await bufferOf('discarded'), first, 'a buffer that came back is lent again');
  assert.notEqual(await bufferOf('given back'), first);
});
