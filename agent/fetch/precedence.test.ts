import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { RateBudget } from '../../proto/std/rate-budget.ts';
import { createFetchMetrics } from './metrics.ts';
import { Precedence } from './precedence.ts';

const MIB = 1024 * 1024;
const NEVER = new AbortController().signal;

function precedenceOf(budget?: RateBudget) {
  const registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const metrics = createFetchMetrics(registry);
  return { registry, precedence: new Precedence({ budget, metrics }) };
}

/** A download whose readers have left. */
function left(precedence: Precedence) {
  const claim = precedence.enter();
  claim.readers(1, 0);
  claim.readers(0, 60_000);
  assert.equal(claim.isRead, false);
  return claim;
}

/** Whether it is settled once everything due has run. */
async function isGiven(turn: Promise<unknown>): Promise<boolean> {
  let given = false;
  void turn.then(() => (given = true));
  await new Promise((resolve) => setImmediate(resolve));
  return given;
}

test('a download that nobody reads has one chunk in flight while another is read', async () => {
  const { precedence } = precedenceOf();
  const read = precedence.enter();
  const first = left(precedence);
  const second = left(precedence);
  const flying = await first.turn(MIB, NEVER);
  const next = second.turn(MIB, NEVER);
  assert.equal(await isGiven(next), false);
  for (let n = 0; n < 50; n += 1) assert.ok(await isGiven(read.turn(MIB, NEVER)));
  flying[Symbol.dispose]();
  assert.ok(await isGiven(next));
});

test('it goes on when the others are done, or when it is read again', async () => {
  const { precedence } = precedenceOf();
  const read = precedence.enter();
  const unread = left(precedence);
  const again = left(precedence);
  await unread.turn(MIB, NEVER);
  const waiting = [again.turn(MIB, NEVER), unread.turn(MIB, NEVER)] as const;
  again.readers(1, 60_001);
  assert.ok(await isGiven(waiting[0]));
  assert.equal(await isGiven(waiting[1]), false);
  again[Symbol.dispose]();
  read[Symbol.dispose]();
  assert.ok(await isGiven(waiting[1]));
});

test('a reader that is away for a moment loses nothing by it', async () => {
  const { precedence } = precedenceOf();
  precedence.enter();
  const claim = precedence.enter();
  claim.readers(1, 1000);
  claim.readers(0, 4000);
  for (let n = 0; n < 10; n += 1) assert.ok(await isGiven(claim.turn(MIB, NEVER)));
});

test('only what nobody reads is taken out of the budget of prefetch', async () => {
  const budget = new RateBudget({ bytesPerSecond: 100 * MIB, now: () => 0 });
  const { precedence, registry } = precedenceOf(budget);
  const read = precedence.enter();
  await read.turn(MIB, NEVER);
  assert.equal(budget.taken, 0);
  using flying = await left(precedence).turn(2 * MIB, NEVER);
  void flying;
  assert.equal(budget.taken, 2 * MIB);
  assert.match(await registry.text(), /unread_bytes_total 2097152/);
});

test('who gives up waiting keeps no place', async () => {
  const { precedence } = precedenceOf();
  precedence.enter();
  const unread = left(precedence);
  const flying = await unread.turn(MIB, NEVER);
  const gone = new AbortController();
  const waiting = unread.turn(MIB, gone.signal);
  gone.abort(new Error('no longer needed'));
  await assert.rejects(waiting, /no longer needed/);
  flying[Symbol.dispose]();
  assert.ok(await isGiven(unread.turn(MIB, NEVER)));
});

test('a reader that comes back does not wait for the budget of prefetch', async () => {
  const budget = new RateBudget({ bytesPerSecond: MIB, now: () => 0 });
  const { precedence } = precedenceOf(budget);
  const claim = left(precedence);
  const turns = [claim.turn(600 * MIB, NEVER), claim.turn(MIB, NEVER)] as const;
  assert.equal(await isGiven(turns[0]), false);
  claim.readers(1, 60_001);
  for (const turn of turns) assert.ok(await isGiven(turn));
});

test('what is begun for nobody yields from its first chunk on, until it is read', async () => {
  const budget = new RateBudget({ bytesPerSecond: 100 * MIB, now: () => 0 });
  const { precedence } = precedenceOf(budget);
  const unread = precedence.enter({ isRead: false });
  unread.readers(0, 0);
  assert.equal(unread.isRead, false);
  using alone = await unread.turn(MIB, NEVER);
  void alone;
  assert.equal(budget.taken, MIB);
  precedence.enter();
  const next = unread.turn(MIB, NEVER);
  assert.equal(await isGiven(next), false);
  unread.readers(1, 1);
  assert.ok(await isGiven(next));
});
