import type { Kysely, Transaction } from 'kysely';
import type { Charge, Full, LoginStore } from '../access/login-store.ts';
import { databaseNow } from './database-clock.ts';
import { change, transact } from './transact.ts';

/** Tables of migration 0008. */
export type LoginTables = {
  /** When all room for failures will have come back, by the clock of the database. */
  login_failure: { name: string; full_at_ms: number };
  login_success: { pair: string; until_ms: number };
};

type Db = Transaction<LoginTables>;

/** The logins of all hubs in the tables of the catalog. */
export class KyselyLoginStore implements LoginStore {
  readonly #db: Kysely<LoginTables>;

  constructor(modules: { db: Kysely<LoginTables> }) {
    this.#db = modules.db;
  }

  charge(charges: readonly Charge[]): Promise<Full | undefined> {
    return transact(this.#db, async (db) => {
      const done: Charge[] = [];
      for (const one of inOrder(charges)) {
        // oxlint-disable-next-line no-await-in-loop -- one statement after the other
        const waitMs = await charge(db, one);
        if (waitMs === 0) {
          done.push(one);
          continue;
        }
        // oxlint-disable-next-line no-await-in-loop -- one statement after the other
        for (const other of done) await refund(db, other);
        return { name: one.name, waitMs };
      }
      return undefined;
    });
  }

  refund(charges: readonly Charge[], trusted?: { pair: string; lifeMs: number }): Promise<void> {
    return transact(this.#db, async (db) => {
      // oxlint-disable-next-line no-await-in-loop -- one statement after the other
      for (const one of inOrder(charges)) await refund(db, one);
      if (trusted === undefined) return;
      const { pair, lifeMs } = trusted;
      const now = databaseNow(db);
      await db
        .insertInto('login_success')
        .values((expression) => ({ pair, until_ms: expression(now, '+', lifeMs) }))
        .onConflict((conflict) =>
          conflict
            .column('pair')
            .doUpdateSet((expression) => ({ until_ms: expression.ref('excluded.until_ms') })),
        )
        .execute();
    });
  }

  async isTrusted(pair: string): Promise<boolean> {
    const row = await this.#db
      .selectFrom('login_success')
      .select('pair')
      .where('pair', '=', pair)
      .where('until_ms', '>', databaseNow(this.#db))
      .executeTakeFirst();
    return row !== undefined;
  }

  async purge(max: number): Promise<void> {
    const now = databaseNow(this.#db);
    await change(this.#db, (db) =>
      db.deleteFrom('login_failure').where('full_at_ms', '<=', now).execute(),
    );
    await change(this.#db, (db) =>
      db.deleteFrom('login_success').where('until_ms', '<=', now).execute(),
    );
    await change(this.#db, (db) => {
      const kept = db
        .selectFrom('login_failure')
        .select('name')
        .orderBy('full_at_ms', 'desc')
        .limit(max);
      return db.deleteFrom('login_failure').where('name', 'not in', kept).execute();
    });
    await change(this.#db, (db) => {
      const kept = db
        .selectFrom('login_success')
        .select('pair')
        .orderBy('until_ms', 'desc')
        .limit(max);
      return db.deleteFrom('login_success').where('pair', 'not in', kept).execute();
    });
  }
}

/** The same for all, so that hubs which count the same names wait for each other in a row. */
function inOrder(charges: readonly Charge[]): Charge[] {
  return charges.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** One failure more, if there is room; otherwise how long until there is. */
async function charge(db: Db, { name, rate: { burst, everyMs } }: Charge): Promise<number> {
  const now = databaseNow(db);
  const othersMs = (burst - 1) * everyMs;
  const charged = await db
    .insertInto('login_failure')
    .values((expression) => ({ name, full_at_ms: expression(now, '+', everyMs) }))
    .onConflict((conflict) =>
      conflict
        .column('name')
        .doUpdateSet((expression) => ({
          full_at_ms: expression(
            expression
              .case()
              .when('login_failure.full_at_ms', '>', now)
              .then(expression.ref('login_failure.full_at_ms'))
              .else(now)
              .end(),
            '+',
            everyMs,
          ),
        }))
        .where((expression) =>
          expression(expression('login_failure.full_at_ms', '-', othersMs), '<=', now),
        ),
    )
    .returning('name')
    .executeTakeFirst();
  if (charged !== undefined) return 0;
  const row = await db
    .selectFrom('login_failure')
    .select((expression) => expression('full_at_ms', '-', now).as('left_ms'))
    .where('name', '=', name)
    .executeTakeFirst();
  return Math.max(1, Math.min((row?.left_ms ?? 0) - othersMs, everyMs));
}

async function refund(db: Db, { name, rate }: Charge): Promise<void> {
  await db
    .updateTable('login_failure')
    .set((expression) => ({ full_at_ms: expression('full_at_ms', '-', rate.everyMs) }))
    .where('name', '=', name)
    .execute();
}
