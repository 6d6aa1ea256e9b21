import type { Kysely } from 'kysely';
import { databaseNow } from './database-clock.ts';
import { change } from './transact.ts';

/** A table of migration 0008. */
export type LeaseTables = {
  named_lease: { name: string; holder: string; epoch: number; until_ms: number };
};

/** Work of a name that one hub at a time has. */
export type NamedLease = {
  readonly name: string;
  readonly holder: string;
  /** Larger than that of every lease of this name before. */
  readonly epoch: number;
  /** When it ends unless renewed, on the clock of `performance.now()` of this process. */
  readonly endsAtMs: number;
};

/**
 * Leases in the catalog, for work that one of the hubs that share it does at a time. Whether one
 * has ended is said by the clock of the database alone; its holder counts from before it asked, on
 * a clock that nobody sets, and so stops before another begins, however wrong the clocks of either
 * are. Should the clock of the database jump, the epoch still tells the two apart.
 */
export class NamedLeases {
  readonly #db: Kysely<LeaseTables>;
  readonly #holder: string;

  /** `holder`: this hub among those that share the catalog. */
  constructor(options: { holder: string }, modules: { db: Kysely<LeaseTables> }) {
    this.#holder = options.holder;
    this.#db = modules.db;
  }

  /**
   * The lease for `lifeMs` under a new epoch, unless another hub has it; that of a holder that asks
   * again ends. undefined: another has it.
   */
  async acquire(name: string, lifeMs: number): Promise<NamedLease | undefined> {
    const startedMs = performance.now();
    const holder = this.#holder;
    const row = await change(this.#db, (db) => {
      const now = databaseNow(db);
      return db
        .insertInto('named_lease')
        .values((expression) => ({
          name,
          holder,
          epoch: 1,
          until_ms: expression(now, '+', lifeMs),
        }))
        .onConflict((conflict) =>
          conflict
            .column('name')
            .doUpdateSet((expression) => ({
              holder,
              epoch: expression('named_lease.epoch', '+', 1),
              until_ms: expression.ref('excluded.until_ms'),
            }))
            .where((where) =>
              where.or([
                where('named_lease.holder', '=', holder),
                where('named_lease.until_ms', '<=', now),
              ]),
            ),
        )
        .returning('epoch')
        .executeTakeFirst();
    });
    if (row === undefined) return undefined;
    return { name, holder, epoch: row.epoch, endsAtMs: startedMs + lifeMs };
  }

  /** The same lease for `lifeMs` from now; undefined when it was lost. */
  async renew(lease: NamedLease, lifeMs: number): Promise<NamedLease | undefined> {
    const startedMs = performance.now();
    const { numUpdatedRows } = await change(this.#db, (db) => {
      const now = databaseNow(db);
      return this.#held(lease, db)
        .set((expression) => ({ until_ms: expression(now, '+', lifeMs) }))
        .where('until_ms', '>', now)
        .executeTakeFirst();
    });
    return numUpdatedRows > 0n ? { ...lease, endsAtMs: startedMs + lifeMs } : undefined;
  }

  /** Lets others have it at once; nothing when it was lost. */
  async release(lease: NamedLease): Promise<void> {
    await change(this.#db, (db) => this.#held(lease, db).set({ until_ms: 0 }).execute());
  }

  /**
   * Forgets leases whose names begin so, without `%` and `_`, and that ended `afterMs` ago. Their
   * epochs begin anew.
   */
  async forget(prefix: string, afterMs: number): Promise<void> {
    await change(this.#db, (db) => {
      const now = databaseNow(db);
      return db
        .deleteFrom('named_lease')
        .where('name', 'like', `${prefix}%`)
        .where((is) => is(is('until_ms', '+', afterMs), '<', now))
        .execute();
    });
  }

  #held({ name, holder, epoch }: NamedLease, db: Kysely<LeaseTables>) {
    return db
      .updateTable('named_lease')
      .where('name', '=', name)
      .where('holder', '=', holder)
      .where('epoch', '=', epoch);
  }
}
