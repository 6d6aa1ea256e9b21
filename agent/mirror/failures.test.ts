import assert from 'node:assert/strict';
import { test } from 'node:test';
import { notFound, unavailable } from './errors.ts';
import { failureOf } from './failures.ts';

test('a warning is something to look at, and says what at', () => {
  const warned = failureOf(unavailable('source', 'the hub does not answer'));
  assert.deepEqual([warned.status, warned.level], [503, 'warn']);
  assert.match(warned.remedy, /hub and upstreams/);
  const full = failureOf(unavailable('overloaded', 'too many requests'));
  assert.equal(full.level, 'warn');
  assert.match(full.remedy, /mirror\.requestsMax/);
  const draining = failureOf(unavailable('draining', 'the mirror is draining'));
  assert.deepEqual([draining.status, draining.level], [503, 'debug']);
  assert.deepEqual(failureOf(notFound('blob')).level, 'debug');
});
