import { test } from 'node:test';
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { formatDuration, parseDuration } from './duration.ts';

test('durations of one or several units are read', () => {
  assert.equal(parseDuration('250ms'), 250);
  assert.equal(parseDuration('30s'), 30_000);
  assert.equal(parseDuration('7d'), 7 * 86_400_000);
  assert.equal(parseDuration('1h30m'), 90 * 60_000);
  assert.equal(parseDuration('1.5s'), 1_500);
  assert.equal(parseDuration('1.005s'), 1_005);
  assert.equal(parseDuration('0'), 0);
});

test('a number without its unit and anything else is refused', () => {
  for (const text of ['', '30', 's', '-1s', '1w', '1s ago', '0.0001s', '1e3s', '9999999999999d']) {
    assert.throws(() => parseDuration(text), { code: 'DURATION_INVALID' }, text);
  }
});

test('what is written is read back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10 * 365 * 86_400_000 }), (ms) => {
      assert.equal(parseDuration(formatDuration(ms)), ms);
    }),
  );
});
