import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressIdentity, PullCounts } from './pull-counts.ts';

const LIMIT = { pulls: 2, windowSeconds: 60 };

for (const [address, identity] of [
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:db8::9', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
] as const) {
  test(`${address} is counted as ${identity}`, () => {
    assert.equal(addressIdentity(address), identity);
  });
}

test('a pull comes in again when it is older than the window, each for itself', () => {
  let nowMs = 0;
  const counts = new PullCounts({ now: () => nowMs });
  assert.ok(counts.count('a', LIMIT));
  nowMs = 30_000;
  assert.ok(counts.count('a', LIMIT));
  assert.ok(!counts.count('a', LIMIT));
  assert.equal(counts.standing('b', LIMIT).remaining, 2);
  nowMs = 60_000;
  assert.equal(counts.standing('a', LIMIT).remaining, 1);
  assert.ok(counts.count('a', LIMIT));
  assert.ok(!counts.count('a', LIMIT));
});
