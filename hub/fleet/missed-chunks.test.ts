import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CROSSINGS_MISSED_MAX, CROSSING_MISSED_MS } from './constants.ts';
import { MissedChunks } from './missed-chunks.ts';

test('who goes on asking is believed after a while, who begins anew is not', () => {
  const missed = new MissedChunks();
  assert.equal(missed.asked('a', 0), false);
  assert.equal(missed.asked('a', CROSSING_MISSED_MS - 1), false);
  assert.equal(missed.asked('b', CROSSING_MISSED_MS), false);
  assert.equal(missed.asked('a', CROSSING_MISSED_MS), true);
  assert.equal(missed.asked('a', 3 * CROSSING_MISSED_MS), false);
});

test('those that were not asked for the longest are forgotten first', () => {
  const missed = new MissedChunks();
  missed.asked('first', 0);
  missed.asked('second', 0);
  missed.asked('first', 1);
  for (let at = 2; at <= CROSSINGS_MISSED_MAX; at += 1) missed.asked(`other ${at}`, 2);
  assert.equal(missed.asked('first', CROSSING_MISSED_MS), true);
  assert.equal(missed.asked('second', CROSSING_MISSED_MS), false);
});
