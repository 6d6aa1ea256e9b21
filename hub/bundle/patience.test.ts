import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outage } from './patience.ts';

test('of many requests that fail alike one line is told, until something goes well', () => {
  const told: string[] = [];
  const outage = new Outage({ say: (text) => void told.push(text) });
  outage.failed('no answer', { attempt: 1 });
  outage.failed('no answer', { attempt: 1 });
  outage.failed('no answer', { attempt: 2 });
  outage.failed('no room', { attempt: 7 });
  outage.over();
  outage.failed('no room', { attempt: 1 });
  assert.deepEqual(told, [
    'no answer; trying 7 more times, with pauses of 1m31s in all at most',
    'no room; trying 1 more time, with pauses of 30s in all at most',
    'no room; trying 7 more times, with pauses of 1m31s in all at most',
  ]);
});
