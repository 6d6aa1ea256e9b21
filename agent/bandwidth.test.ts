import assert from 'node:assert/strict';
import { it } from 'node:test';
import { budgetsOf } from './bandwidth.ts';

const ALL = { peersUp: 1, peersDown: 1, source: 1 };
const gigabit = (): Promise<number> => Promise.resolve(125_000_000);

it('bounds nothing unless asked to', async () => {
  const budgets = await budgetsOf(ALL, () => Promise.reject(new Error('asked for nothing')));
  assert.deepEqual(budgets, { peersUp: undefined, peersDown: undefined, source: undefined });
});

it('gives each way its part of the card, and none to those without bound', async () => {
  const budgets = await budgetsOf({ ...ALL, peersUp: 0.8, source: 0.1 }, gigabit);
  assert.equal(budgets.peersUp?.bytesPerSecond, 100_000_000);
  assert.equal(budgets.peersDown, undefined);
  assert.equal(budgets.source?.bytesPerSecond, 12_500_000);
});

it('believes a configured link more than the card, and bounds nothing without either', async () => {
  const slow = await budgetsOf({ ...ALL, link: 2_000_000, peersUp: 0.5 }, gigabit);
  assert.equal(slow.peersUp?.bytesPerSecond, 1_000_000);
  assert.equal(slow.peersDown?.bytesPerSecond, 2_000_000);
  const unknown = await budgetsOf({ ...ALL, peersUp: 0.5 }, () => Promise.resolve(undefined));
  assert.equal(unknown.peersUp, undefined);
});
