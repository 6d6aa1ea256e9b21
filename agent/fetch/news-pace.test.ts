import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HAVE_CHUNKS, HAVE_SPACING_MAX_MS, HAVE_SPACING_MS } from './constants.ts';
import { NewsPace } from './news-pace.ts';

function paceOf(gapMs: number, chunks = 100): NewsPace {
  const pace = new NewsPace({ startMs: 0 });
  for (let at = 1; at <= chunks; at += 1) pace.landed(at * gapMs);
  return pace;
}

test('a download that has nothing yet asks for news at the shortest spacing', () => {
  assert.equal(new NewsPace({ startMs: 0 }).spacingMs, HAVE_SPACING_MS);
});

test('a peer is asked again when about HAVE_CHUNKS chunks have come', () => {
  const spacingMs = paceOf(80).spacingMs;
  assert.ok(Math.abs(spacingMs - 80 * HAVE_CHUNKS) < 1, `${spacingMs} ms`);
});

test('the spacing keeps within its bounds on fast and on slow lines', () => {
  assert.equal(paceOf(1).spacingMs, HAVE_SPACING_MS);
  assert.equal(paceOf(60_000).spacingMs, HAVE_SPACING_MAX_MS);
});

test('after a long pause a fast download soon asks as often as before', () => {
  const pace = new NewsPace({ startMs: 0 });
  for (let at = 1; at <= 40; at += 1) pace.landed(60_000 + at * 5);
  assert.equal(pace.spacingMs, HAVE_SPACING_MS);
});
