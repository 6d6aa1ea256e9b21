// What every store of budgets must do, wherever it keeps its rows.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Kysely } from 'kysely';
import type { BudgetStore } from '../upstream/budget-store.ts';
import { KyselyBudgets, type UpstreamBudgetTables } from './upstream-budgets.ts';

const HOUR_MS = 3_600_000;
const ALLOWANCE = { limit: 10, windowMs: 10 * HOUR_MS };
const UP = 'docker.io';
const TOLD = { bucket: 'a', account: 'ops', allowance: ALLOWANCE, left: 10 };
/** Far less than a pull takes to come in, and more than a test does. */
const SOON_MS = 60_000;

/** A store, and a way to make it as if so much time had gone by. */
export type BudgetRig = { store: BudgetStore; age: (ms: number) => Promise<void> };

/** A rig on tables of a catalog. */
export function tableRig(db: Kysely<UpstreamBudgetTables>): BudgetRig {
  const age = async (ms: number): Promise<void> => {
    await db
      .updateTable('upstream_budget')
      .set((row) => ({
        full_at_ms: row('full_at_ms', '-', ms).$castTo<number>(),
        blocked_until_ms: row('blocked_until_ms', '-', ms).$castTo<number>(),
        told_at_ms: row('told_at_ms', '-', ms).$castTo<number>(),
      }))
      .execute();
  };
  return { store: new KyselyBudgets({ db }), age };
}

async function taken(store: BudgetStore, times: number, reserve = 0): Promise<number> {
  const all = Array.from({ length: times }, () => store.take(UP, [{ bucket: 'a', reserve }]));
  return (await Promise.all(all)).filter((noRoom) => noRoom === undefined).length;
}

const CASES: Record<string, (rig: BudgetRig) => Promise<void>> = {
  'so many pulls are made as are left, then as they come in': async ({ store, age }) => {
    await store.tell(UP, { ...TOLD, left: 3 });
    assert.equal(await taken(store, 20), 3);
    const noRoom = await store.take(UP, [{ bucket: 'a', reserve: 0 }]);
    assert.equal(noRoom?.bucket, 'a');
    assert.ok(noRoom.waitMs > HOUR_MS - SOON_MS && noRoom.waitMs <= HOUR_MS);
    await age(2 * HOUR_MS);
    assert.equal(await taken(store, 20), 2);
    await age(1000 * HOUR_MS);
    assert.equal(await taken(store, 20), 10, 'and never more than the allowance');
  },

  'a part is kept for others': async ({ store }) => {
    await store.tell(UP, TOLD);
    assert.equal(await taken(store, 20, 25), 8, 'of 10 a quarter, in whole pulls');
    assert.equal(await taken(store, 20), 2);
  },

  'what a registry tells counts more than what was counted': async ({ store }) => {
    await store.tell(UP, { ...TOLD, left: 1 });
    assert.equal(await taken(store, 5), 1);
    await store.tell(UP, { ...TOLD, left: 4 });
    assert.equal(await taken(store, 5), 4);
    const allowance = { limit: 20, windowMs: 20 * HOUR_MS };
    await store.tell(UP, { ...TOLD, account: 'other', allowance, left: 15.5 });
    const [row] = await store.list(UP);
    assert.deepEqual(row?.allowance, allowance);
    assert.equal(row.account, 'other');
    assert.ok(row.left >= 15.5 && row.left < 15.6);
    assert.ok(row.fullInMs > 4 * HOUR_MS && row.fullInMs <= 4.5 * HOUR_MS);
  },

  'nobody knows of a limit until one is told, nor of that of another': async ({ store }) => {
    assert.equal(await taken(store, 30), 30);
    assert.deepEqual(await store.list(UP), []);
    await store.tell('quay.io', { ...TOLD, left: 0 });
    await store.tell(UP, { ...TOLD, bucket: 'b', left: 0 });
    assert.equal(await taken(store, 30), 30);
    const rows = await store.list(UP);
    assert.deepEqual(
      rows.map(({ bucket }) => bucket),
      ['b'],
    );
  },

  'a limit of our own counts from the first pull': async ({ store }) => {
    const charge = { bucket: 'own', reserve: 0, allowance: ALLOWANCE };
    const all = Array.from({ length: 20 }, () => store.take(UP, [charge]));
    const room = (await Promise.all(all)).filter((noRoom) => noRoom === undefined);
    assert.equal(room.length, 10);
    const more = { ...charge, allowance: { limit: 11, windowMs: 11 * HOUR_MS } };
    assert.equal(await store.take(UP, [more]), undefined, 'and changes with the setting');
  },

  'what has no room for one is taken of none': async ({ store }) => {
    await store.tell(UP, { ...TOLD, left: 5 });
    await store.tell(UP, { ...TOLD, bucket: 'z', left: 0 });
    const charges = ['a', 'z'].map((bucket) => ({ bucket, reserve: 0 }));
    for (const order of [charges, charges.toReversed()]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      assert.equal((await store.take(UP, order))?.bucket, 'z');
    }
    assert.equal(await taken(store, 20), 5);
  },

  'what is blocked is not used, and not freed by what is told': async ({ store, age }) => {
    await store.block(UP, { bucket: 'a', account: 'ops', ms: 3 * HOUR_MS });
    await store.block(UP, { bucket: 'a', account: 'ops', ms: HOUR_MS });
    await store.tell(UP, TOLD);
    const noRoom = await store.take(UP, [{ bucket: 'a', reserve: 0 }]);
    assert.ok(noRoom && noRoom.waitMs > 3 * HOUR_MS - SOON_MS && noRoom.waitMs <= 3 * HOUR_MS);
    const [row] = await store.list(UP);
    assert.ok(row && row.blockedMs > 3 * HOUR_MS - SOON_MS && row.left > 9.9);
    await age(3 * HOUR_MS);
    assert.equal((await store.list(UP))[0]?.blockedMs, 0);
    assert.equal(await taken(store, 20), 10);
  },

  'a block alone says nothing of an allowance': async ({ store, age }) => {
    await store.block(UP, { bucket: 'a', account: '', ms: HOUR_MS });
    assert.equal((await store.list(UP))[0]?.allowance, undefined);
    assert.equal(await taken(store, 3), 0);
    await age(HOUR_MS);
    assert.equal(await taken(store, 30), 30);
  },

  'what is old is dropped': async ({ store, age }) => {
    await store.tell(UP, { ...TOLD, left: 0 });
    await age(2 * HOUR_MS);
    await store.tell(UP, { ...TOLD, bucket: 'b' });
    const [old] = await store.list(UP);
    assert.ok(old && old.ageMs >= 2 * HOUR_MS && old.ageMs < 2 * HOUR_MS + SOON_MS);
    await store.forget(HOUR_MS);
    const rows = await store.list(UP);
    assert.deepEqual(
      rows.map(({ bucket }) => bucket),
      ['b'],
    );
  },
};

/** Tests of budgets in one place. */
export function budgetStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<BudgetRig>,
  options: { skip?: string | false } = {},
): void {
  for (const [promise, work] of Object.entries(CASES)) {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      await work(await open(t));
    });
  }
}
