import type { ColumnType, Kysely, Transaction } from 'kysely';
import {
  everyMsOf,
  type Allowance,
  type BudgetRow,
  type BudgetStore,
  type Charge,
  type NoRoom,
} from '../upstream/budget-store.ts';
import { databaseNow } from './database-clock.ts';
import type { Big } from './schema.ts';
import { change, transact } from './transact.ts';

type OptionalBig = ColumnType<number | string | null, number | null, number | null>;

/** A table of migration 0011; times by the clock of the database. */
export type UpstreamBudgetTables = {
  upstream_budget: {
    upstream: string;
    bucket: string;
    account: string;
    /** Of a full bucket; null while nobody has told. */
    pulls: OptionalBig;
    /** In which one of them comes in again. */
    every_ms: OptionalBig;
    /** When it is full again if nobody pulls. */
    full_at_ms: Big;
    blocked_until_ms: Big;
    told_at_ms: Big;
  };
};

type Db = Transaction<UpstreamBudgetTables>;

/** The budgets of all hubs in a table of the catalog. */
export class KyselyBudgets implements BudgetStore {
  readonly #db: Kysely<UpstreamBudgetTables>;

  constructor(modules: { db: Kysely<UpstreamBudgetTables> }) {
    this.#db = modules.db;
  }

  async list(upstream: string): Promise<BudgetRow[]> {
    const now = databaseNow(this.#db);
    const rows = await this.#db
      .selectFrom('upstream_budget')
      .select((expression) => [
        'bucket',
        'account',
        'pulls',
        'every_ms',
        expression('full_at_ms', '-', now).as('full_in_ms'),
        expression('blocked_until_ms', '-', now).as('blocked_ms'),
        expression('told_at_ms', '-', now).as('told_in_ms'),
      ])
      .where('upstream', '=', upstream)
      .orderBy('bucket')
      .execute();
    return rows.map((row) => {
      const [limit, everyMs] = [Number(row.pulls ?? 0), Number(row.every_ms ?? 0)];
      const fullInMs = Math.max(0, Number(row.full_in_ms));
      return {
        bucket: row.bucket,
        account: row.account,
        allowance: row.pulls === null ? undefined : { limit, windowMs: limit * everyMs },
        left: row.pulls === null ? 0 : Math.max(0, limit - fullInMs / everyMs),
        fullInMs,
        blockedMs: Math.max(0, Number(row.blocked_ms)),
        ageMs: Math.max(0, -Number(row.told_in_ms)),
      };
    });
  }

  take(upstream: string, charges: readonly Charge[]): Promise<NoRoom | undefined> {
    return transact(this.#db, async (db) => {
      const done: Charge[] = [];
      for (const one of charges.toSorted((a, b) => (a.bucket < b.bucket ? -1 : 1))) {
        // oxlint-disable-next-line no-await-in-loop -- one statement after the other
        const waitMs = await takeOne(db, upstream, one);
        if (waitMs === 0) {
          done.push(one);
          continue;
        }
        // oxlint-disable-next-line no-await-in-loop -- one statement after the other
        for (const other of done) await giveBack(db, upstream, other);
        return { bucket: one.bucket, waitMs };
      }
      return undefined;
    });
  }

  async tell(
    upstream: string,
    told: { bucket: string; account: string; allowance: Allowance; left: number },
  ): Promise<void> {
    const { bucket, account, allowance, left } = told;
    const everyMs = everyMsOf(allowance);
    const missingMs = Math.trunc((allowance.limit - left) * everyMs);
    await change(this.#db, (db) => {
      const now = databaseNow(db);
      return db
        .insertInto('upstream_budget')
        .values((expression) => ({
          upstream,
          bucket,
          account,
          pulls: allowance.limit,
          every_ms: everyMs,
          full_at_ms: expression(now, '+', missingMs),
          blocked_until_ms: 0,
          told_at_ms: now,
        }))
        .onConflict((conflict) =>
          conflict.columns(['upstream', 'bucket']).doUpdateSet((expression) => ({
            account,
            pulls: allowance.limit,
            every_ms: everyMs,
            full_at_ms: expression.ref('excluded.full_at_ms'),
            told_at_ms: expression.ref('excluded.told_at_ms'),
          })),
        )
        .execute();
    });
  }

  async block(
    upstream: string,
    { bucket, account, ms }: { bucket: string; account: string; ms: number },
  ): Promise<void> {
    await change(this.#db, (db) => {
      const now = databaseNow(db);
      return db
        .insertInto('upstream_budget')
        .values((expression) => ({
          upstream,
          bucket,
          account,
          pulls: null,
          every_ms: null,
          full_at_ms: 0,
          blocked_until_ms: expression(now, '+', ms),
          told_at_ms: now,
        }))
        .onConflict((conflict) =>
          conflict.columns(['upstream', 'bucket']).doUpdateSet((expression) => {
            const known = expression.ref('upstream_budget.blocked_until_ms');
            const fresh = expression.ref('excluded.blocked_until_ms');
            return {
              account,
              blocked_until_ms: expression
                .case()
                .when(known, '>', fresh)
                .then(known)
                .else(fresh)
                .end(),
              told_at_ms: expression.ref('excluded.told_at_ms'),
            };
          }),
        )
        .execute();
    });
  }

  async forget(olderThanMs: number): Promise<void> {
    await change(this.#db, (db) => {
      const now = databaseNow(db);
      return db
        .deleteFrom('upstream_budget')
        .where('told_at_ms', '<', (expression) => expression(now, '-', olderThanMs))
        .execute();
    });
  }
}

/** Takes one pull, 0 when there was one; otherwise the ms until there is. */
async function takeOne(db: Db, upstream: string, charge: Charge): Promise<number> {
  const { bucket, reserve, allowance } = charge;
  if (allowance !== undefined) await allow(db, upstream, bucket, allowance);
  const row = await db
    .selectFrom('upstream_budget')
    .select(['pulls', 'every_ms'])
    .where('upstream', '=', upstream)
    .where('bucket', '=', bucket)
    .executeTakeFirst();
  if (row === undefined) return 0;
  const limit = Number(row.pulls ?? 0);
  const everyMs = Number(row.every_ms ?? 0);
  const roomMs = (limit - Math.trunc((limit * reserve) / 100) - 1) * everyMs;
  const now = databaseNow(db);
  const taken = await db
    .updateTable('upstream_budget')
    .set((expression) => ({
      full_at_ms: expression(
        expression
          .case()
          .when('full_at_ms', '>', now)
          .then(expression.ref('full_at_ms'))
          .else(now)
          .end(),
        '+',
        everyMs,
      ).$castTo<number>(),
    }))
    .where('upstream', '=', upstream)
    .where('bucket', '=', bucket)
    .where('blocked_until_ms', '<=', now)
    .$if(row.pulls !== null, (query) =>
      query.where((expression) => expression(expression('full_at_ms', '-', roomMs), '<=', now)),
    )
    .returning('bucket')
    .executeTakeFirst();
  if (taken !== undefined) return 0;
  const left = await db
    .selectFrom('upstream_budget')
    .select((expression) => [
      expression('full_at_ms', '-', now).as('full_in_ms'),
      expression('blocked_until_ms', '-', now).as('blocked_ms'),
    ])
    .where('upstream', '=', upstream)
    .where('bucket', '=', bucket)
    .executeTakeFirst();
  const fullInMs = row.pulls === null ? 0 : Number(left?.full_in_ms ?? 0) - roomMs;
  return Math.max(1, fullInMs, Number(left?.blocked_ms ?? 0));
}

/** Gives a bucket an allowance that no registry tells. */
async function allow(
  db: Db,
  upstream: string,
  bucket: string,
  allowance: Allowance,
): Promise<void> {
  const own = { pulls: allowance.limit, every_ms: everyMsOf(allowance) };
  const now = databaseNow(db);
  await db
    .insertInto('upstream_budget')
    .values({
      ...own,
      upstream,
      bucket,
      account: '',
      full_at_ms: 0,
      blocked_until_ms: 0,
      told_at_ms: now,
    })
    .onConflict((conflict) =>
      conflict.columns(['upstream', 'bucket']).doUpdateSet({ ...own, told_at_ms: now }),
    )
    .execute();
}

async function giveBack(db: Db, upstream: string, { bucket }: Charge): Promise<void> {
  await db
    .updateTable('upstream_budget')
    .set((expression) => ({
      full_at_ms: expression('full_at_ms', '-', expression.ref('every_ms')).$castTo<number>(),
    }))
    .where('upstream', '=', upstream)
    .where('bucket', '=', bucket)
    .where('every_ms', 'is not', null)
    .execute();
}
