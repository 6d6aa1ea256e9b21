import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RETRY_AFTER_MAX_MS } from './constants.ts';
import { rateOf, retryAfterOf } from './rate-headers.ts';

const NOW = Date.parse('2026-05-01T12:00:00Z');

function rate(limit: string, remaining: string, more: Record<string, string> = {}) {
  const headers: Record<string, string> = {
    'ratelimit-limit': limit,
    'ratelimit-remaining': remaining,
    ...more,
  };
  return rateOf((name) => headers[name] ?? '');
}

test('what is left is read as registries write it', () => {
  const docker = rate('100;w=21600', '20;w=21600', { 'docker-ratelimit-source': '192.0.2.1' });
  const allowance = { limit: 100, windowMs: 21_600_000 };
  assert.deepEqual(docker, { allowance, left: 20, source: '192.0.2.1' });
  assert.deepEqual(rate('100 ; w = 21600', '0'), { allowance, left: 0, source: undefined });
  assert.deepEqual(rate('100', '5', { 'ratelimit-reset': '21600' })?.allowance, allowance);
  assert.equal(rate('100;w=21600', '101;w=21600')?.left, 100);
  assert.equal(rate('100, 10;w=1', '5;w=21600')?.allowance.limit, 100);
});

test('what cannot be meant tells nothing', () => {
  const wrong: readonly [limit: string, remaining: string][] = [
    ['', ''],
    ['100;w=21600', ''],
    ['', '5'],
    ['100', '5'],
    ['0;w=21600', '0'],
    ['-1;w=21600', '5'],
    ['1e9;w=60', '5'],
    ['100;w=0', '5'],
    ['999999999;w=60', '5'],
    ['100;w=999999999', '5'],
    ['many', 'few'],
  ];
  for (const [limit, remaining] of wrong) assert.equal(rate(limit, remaining), undefined, limit);
  for (const source of ['a b', 'x'.repeat(200), '', 'ü']) {
    const told = rate('10;w=60', '5', { 'docker-ratelimit-source': source });
    assert.equal(told?.source, undefined, source);
  }
});

test('when to come back is told in seconds or as a time, within reason', () => {
  const cases: readonly [text: string, ms: number | undefined][] = [
    ['120', 120_000],
    ['0', 1000],
    ['Fri, 01 May 2026 12:02:00 GMT', 120_000],
    ['Fri, 01 May 2026 11:00:00 GMT', 1000],
    [String(NOW / 1000 + 120), 120_000],
    ['999999999', RETRY_AFTER_MAX_MS],
    ['', undefined],
    ['soon', undefined],
  ];
  for (const [text, ms] of cases) {
    assert.equal(
      retryAfterOf((name) => (name === 'retry-after' ? text : ''), NOW),
      ms,
      text,
    );
  }
});
