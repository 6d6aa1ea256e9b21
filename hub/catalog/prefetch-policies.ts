import type { Kysely } from 'kysely';
import type { Policy } from '../prefetch/store.ts';
import { policyOf, type PolicyTable } from './prefetch-rows.ts';
import { change, transact } from './transact.ts';

/** A table of migration 0014. */
export type PolicyTables = { prefetch_policy: PolicyTable };

const LOCK = 'prefetch policies';

/** Policies of prefetch in a table of the catalog. See PrefetchStore. */
export class PrefetchPolicies {
  readonly #db: Kysely<PolicyTables>;

  constructor(modules: { db: Kysely<PolicyTables> }) {
    this.#db = modules.db;
  }

  async policies(): Promise<Policy[]> {
    const rows = await this.#db.selectFrom('prefetch_policy').selectAll().orderBy('name').execute();
    return rows.map(policyOf);
  }

  async policy(name: string): Promise<Policy | undefined> {
    const found = this.#db.selectFrom('prefetch_policy').selectAll().where('name', '=', name);
    const row = await found.executeTakeFirst();
    return row && policyOf(row);
  }

  putPolicy(policy: Policy, { max }: { max: number }): Promise<'ok' | 'full'> {
    const { name, createdAtMs, nextAtMs = null, note, ...spec } = policy;
    return transact(
      this.#db,
      async (db) => {
        const { others } = await db
          .selectFrom('prefetch_policy')
          .where('name', '<>', name)
          .select((count) => count.fn.countAll<number | string>().as('others'))
          .executeTakeFirstOrThrow();
        if (Number(others) >= max) return 'full';
        const fields = { spec: JSON.stringify(spec), next_at_ms: nextAtMs, note };
        await db
          .insertInto('prefetch_policy')
          .values({ name, created_at_ms: createdAtMs, ...fields })
          .onConflict((conflict) => conflict.column('name').doUpdateSet(fields))
          .execute();
        return 'ok';
      },
      { lock: LOCK },
    );
  }

  async deletePolicy(name: string): Promise<boolean> {
    const { numDeletedRows } = await change(this.#db, (db) =>
      db.deleteFrom('prefetch_policy').where('name', '=', name).executeTakeFirst(),
    );
    return numDeletedRows > 0n;
  }

  async movePolicy(name: string, fromMs: number | undefined, toMs: number): Promise<boolean> {
    const { numUpdatedRows } = await change(this.#db, (db) => {
      const own = db.updateTable('prefetch_policy').set({ next_at_ms: toMs });
      const from = fromMs ?? null;
      return own
        .where('name', '=', name)
        .where('next_at_ms', from === null ? 'is' : '=', from)
        .executeTakeFirst();
    });
    return numUpdatedRows > 0n;
  }

  async notePolicy(name: string, note: string): Promise<void> {
    await change(this.#db, (db) =>
      db.updateTable('prefetch_policy').set({ note }).where('name', '=', name).execute(),
    );
  }
}
