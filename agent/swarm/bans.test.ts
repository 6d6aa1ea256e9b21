import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BanBook } from './bans.ts';
import { BANS_MAX, BAN_BASE_MS, BAN_MAX_MS, BAN_MEMORY_MS } from './constants.ts';

test('a ban ends, and each further offence doubles it up to the maximum', () => {
  let nowMs = 1_000_000;
  const bans = new BanBook({ steadyNow: () => nowMs });
  let expectedMs = BAN_BASE_MS;
  for (let offence = 0; offence < 12; offence++) {
    const durationMs = bans.ban('peer', 'chunk-mismatch');
    assert.equal(durationMs, Math.min(expectedMs, BAN_MAX_MS));
    assert.equal(bans.isBanned('peer'), true);
    nowMs += durationMs;
    assert.equal(bans.isBanned('peer'), false);
    expectedMs *= 2;
  }
});

test('reports of the same offence during a ban do not lengthen it beyond its class', () => {
  const bans = new BanBook({ steadyNow: () => 5 });
  assert.equal(bans.ban('peer', 'chunk-mismatch'), BAN_BASE_MS);
  assert.equal(bans.ban('peer', 'chunk-mismatch'), BAN_BASE_MS);
});

test('a peer that behaved for long enough starts again at the first ban', () => {
  let nowMs = 0;
  const bans = new BanBook({ steadyNow: () => nowMs });
  bans.ban('peer', 'protocol-violation');
  nowMs += BAN_MEMORY_MS;
  assert.equal(bans.ban('peer', 'protocol-violation'), BAN_BASE_MS);
});

test('the number of remembered peers is bounded', () => {
  const bans = new BanBook({ steadyNow: () => 0 });
  for (let i = 0; i <= BANS_MAX; i++) bans.ban(`peer-${i}`, 'chunk-mismatch');
  assert.equal(bans.isBanned('peer-0'), false);
  assert.equal(bans.isBanned(`peer-${BANS_MAX}`), true);
});
