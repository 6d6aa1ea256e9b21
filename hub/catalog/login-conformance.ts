// What the count of failed logins must do, whatever the database.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Kysely } from 'kysely';
import type { LoginStore } from '../access/login-store.ts';
import { KyselyLoginStore, type LoginTables } from './login-store.ts';

const RATE = { burst: 10, everyMs: 60_000 };
const ADA = { name: 'ada', rate: RATE };
const HOME = { name: 'home', rate: { burst: 60, everyMs: 1000 } };
const DAY_MS = 86_400_000;

type Rig = { store: LoginStore; db: Kysely<LoginTables> };

/** As if so much time had gone by. */
async function age(db: Kysely<LoginTables>, ms: number): Promise<void> {
  const change = db.updateTable('login_failure');
  await change.set((row) => ({ full_at_ms: row('full_at_ms', '-', ms) })).execute();
  const trust = db.updateTable('login_success');
  await trust.set((row) => ({ until_ms: row('until_ms', '-', ms) })).execute();
}

async function counted(store: LoginStore, times: number): Promise<number> {
  const all = Array.from({ length: times }, () => store.charge([HOME, ADA]));
  return (await Promise.all(all)).filter((full) => full === undefined).length;
}

const CASES: Record<string, (rig: Rig) => Promise<void>> = {
  'so many failures may come at once, then one at a time': async ({ store, db }) => {
    assert.equal(await counted(store, 30), RATE.burst);
    const full = await store.charge([HOME, ADA]);
    assert.equal(full?.name, 'ada');
    assert.ok(full.waitMs > RATE.everyMs - 20_000 && full.waitMs <= RATE.everyMs);
    assert.equal(await store.charge([{ ...ADA, name: 'bob' }]), undefined);
    await age(db, RATE.everyMs);
    assert.equal(await counted(store, 5), 1);
    await age(db, DAY_MS);
    assert.equal(await counted(store, 30), RATE.burst, 'and never more than at once');
  },

  'what has no room for one counts for none': async ({ store, db }) => {
    await counted(store, 40);
    const row = db.selectFrom('login_failure').selectAll().where('name', '=', 'home');
    const { full_at_ms: before } = await row.executeTakeFirstOrThrow();
    assert.equal((await store.charge([HOME, ADA]))?.name, 'ada');
    assert.equal((await row.executeTakeFirstOrThrow()).full_at_ms, before);
  },

  'what is taken back was never counted': async ({ store }) => {
    for (let i = 0; i < 2 * RATE.burst; i++) {
      assert.equal(await store.charge([ADA, HOME]), undefined);
      await store.refund([ADA, HOME]);
    }
    assert.equal(await counted(store, 30), RATE.burst);
  },

  'a success makes a pair trusted for its time': async ({ store, db }) => {
    assert.equal(await store.isTrusted('ada at home'), false);
    await store.refund([], { pair: 'ada at home', lifeMs: DAY_MS });
    assert.equal(await store.isTrusted('ada at home'), true);
    assert.equal(await store.isTrusted('eve at home'), false);
    await age(db, DAY_MS);
    assert.equal(await store.isTrusted('ada at home'), false);
  },

  'rows that count no more are deleted, and there are so many at most': async ({ store, db }) => {
    await store.charge([ADA]);
    await store.refund([], { pair: 'old', lifeMs: 1000 });
    await age(db, DAY_MS);
    for (let i = 0; i < 5; i++) {
      await store.charge(Array.from({ length: i + 1 }, () => ({ ...ADA, name: `user ${i}` })));
      await store.refund([], { pair: `pair ${i}`, lifeMs: DAY_MS + i * 1000 });
    }
    await store.purge(3);
    const failures = await db.selectFrom('login_failure').select('name').orderBy('name').execute();
    assert.deepEqual(
      failures.map(({ name }) => name),
      ['user 2', 'user 3', 'user 4'],
    );
    const pairs = await db.selectFrom('login_success').select('pair').orderBy('pair').execute();
    assert.deepEqual(
      pairs.map(({ pair }) => pair),
      ['pair 2', 'pair 3', 'pair 4'],
    );
  },
};

/** Tests of the count in one place; `open` gives an empty database. */
export function loginStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<Kysely<LoginTables>>,
  options: { skip?: string | false } = {},
): void {
  for (const [promise, work] of Object.entries(CASES)) {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      const db = await open(t);
      await work({ store: new KyselyLoginStore({ db }), db });
    });
  }
}
