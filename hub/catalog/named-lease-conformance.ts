// What leases must do, whatever the database.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Kysely } from 'kysely';
import { NamedLeases, type LeaseTables } from './named-lease.ts';

const LIFE_MS = 60_000;
const HOURS_MS = 5 * 3_600_000;

/** As if so much time had gone by. */
async function age(db: Kysely<LeaseTables>, ms: number): Promise<void> {
  await db
    .updateTable('named_lease')
    .set((expression) => ({ until_ms: expression('until_ms', '-', ms) }))
    .execute();
}

type Hubs = { a: NamedLeases; b: NamedLeases; db: Kysely<LeaseTables>; t: TestContext };

const CASES: Record<string, (hubs: Hubs) => Promise<void>> = {
  'one hub has a lease until it ends, the next a later epoch': async ({ a, b, db }) => {
    const first = await a.acquire('purge', LIFE_MS);
    assert.equal(first?.epoch, 1);
    assert.equal(await b.acquire('purge', LIFE_MS), undefined);
    assert.equal((await b.acquire('other work', LIFE_MS))?.epoch, 1);
    await age(db, LIFE_MS);
    const second = await b.acquire('purge', LIFE_MS);
    assert.equal(second?.epoch, 2);
    assert.equal(await a.renew(first, LIFE_MS), undefined, 'the first holder is told');
    await a.release(first);
    assert.equal(await a.acquire('purge', LIFE_MS), undefined, 'and cannot end the second');
  },

  'a lease that is renewed is kept, under its epoch': async ({ a, b, db }) => {
    const first = await a.acquire('purge', LIFE_MS);
    assert.ok(first);
    await age(db, LIFE_MS / 2);
    const renewed = await a.renew(first, LIFE_MS);
    assert.equal(renewed?.epoch, first.epoch);
    await age(db, LIFE_MS / 2);
    assert.equal(await b.acquire('purge', LIFE_MS), undefined);
    await age(db, LIFE_MS);
    assert.equal(await a.renew(renewed, LIFE_MS), undefined, 'an ended one is not revived');
  },

  'what is given back is free, and its epoch does not come again': async ({ a, b }) => {
    const first = await a.acquire('purge', LIFE_MS);
    assert.ok(first);
    await a.release(first);
    const second = await b.acquire('purge', LIFE_MS);
    assert.equal(second?.epoch, first.epoch + 1);
  },

  'a hub that starts again has its lease at once, its past self not': async ({ a }) => {
    const before = await a.acquire('purge', LIFE_MS);
    const after = await a.acquire('purge', LIFE_MS);
    assert.ok(before && after && after.epoch > before.epoch);
    assert.equal(await a.renew(before, LIFE_MS), undefined);
    assert.ok(await a.renew(after, LIFE_MS));
  },

  'of hubs that ask at once one gets it': async ({ db }) => {
    const asked = Array.from({ length: 12 }, (_, i) =>
      new NamedLeases({ holder: `hub ${i}` }, { db }).acquire('purge', LIFE_MS),
    );
    const got = (await Promise.all(asked)).filter((lease) => lease !== undefined);
    assert.deepEqual(
      got.map(({ epoch }) => epoch),
      [1],
    );
  },

  'a hub whose clock is hours wrong gets and loses nothing by it': async ({ a, b, db, t }) => {
    const real = Date.now();
    const held = await a.acquire('purge', LIFE_MS);
    assert.ok(held);
    t.mock.timers.enable({ apis: ['Date'], now: real + HOURS_MS });
    assert.equal(await b.acquire('purge', LIFE_MS), undefined, 'a clock ahead takes nothing early');
    t.mock.timers.setTime(real - HOURS_MS);
    const renewed = await a.renew(held, LIFE_MS);
    assert.ok(renewed, 'a clock behind loses nothing');
    await age(db, LIFE_MS);
    assert.ok(await b.acquire('purge', LIFE_MS), 'nor does it keep what has ended');
    assert.ok(renewed.endsAtMs - performance.now() <= LIFE_MS, 'the holder stops by then');
  },
};

/** Tests of leases in one place; `open` gives an empty database. */
export function namedLeaseConformance(
  where: string,
  open: (t: TestContext) => Promise<Kysely<LeaseTables>>,
  options: { skip?: string | false } = {},
): void {
  for (const [promise, work] of Object.entries(CASES)) {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      const db = await open(t);
      const a = new NamedLeases({ holder: 'a' }, { db });
      await work({ a, b: new NamedLeases({ holder: 'b' }, { db }), db, t });
    });
  }
}
