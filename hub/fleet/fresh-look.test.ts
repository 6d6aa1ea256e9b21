import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FreshLook } from './fresh-look.ts';

const GAP_MS = 20;

test('who asks while a look runs gets one that began later; many share it', async () => {
  let began = 0;
  const first = Promise.withResolvers<void>();
  const look = new FreshLook(
    { gapMs: GAP_MS },
    { look: async () => void (++began === 1 && (await first.promise)) },
  );
  const one = look.ask();
  await new Promise(setImmediate);
  assert.equal(began, 1);
  const later = Array.from({ length: 50 }, () => look.ask());
  first.resolve();
  await one;
  await Promise.all(later);
  assert.equal(began, 2);
});

test('looks begin so far apart, however many ask', async () => {
  const beganMs: number[] = [];
  let nowMs = 0;
  const clock = { now: () => nowMs, sleep: async (ms: number) => void (nowMs += ms) };
  const look = new FreshLook(
    { gapMs: GAP_MS, clock },
    { look: async () => void beganMs.push(nowMs) },
  );
  for (let i = 0; i < 4; i++) await Promise.all([look.ask(), look.ask(), look.ask()]);
  assert.deepEqual(beganMs, [0, GAP_MS, 2 * GAP_MS, 3 * GAP_MS]);
});

test('a look that fails tells those who asked for it, and no one else', async () => {
  let began = 0;
  const work = async (): Promise<void> => {
    if (++began === 1) throw new Error('no database');
  };
  const look = new FreshLook({ gapMs: 1 }, { look: work });
  await assert.rejects(look.ask(), /no database/);
  await look.ask();
});
