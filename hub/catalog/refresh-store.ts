import type { Kysely } from 'kysely';
import type { AccessStore, RefreshRow } from '../access/store.ts';
import { refreshRowOf, type AccessTables } from './access-tables.ts';
import { transact } from './transact.ts';

type RefreshStore = Pick<
  AccessStore,
  'refresh' | 'addRefresh' | 'deleteFamily' | 'deleteRefreshOf'
>;

/** The refresh tokens of the token service. */
export class KyselyRefreshStore implements RefreshStore {
  readonly #db: Kysely<AccessTables>;

  constructor(modules: { db: Kysely<AccessTables> }) {
    this.#db = modules.db;
  }

  async refresh(hash: string): Promise<RefreshRow | undefined> {
    const found = this.#db.selectFrom('refresh_token').selectAll().where('hash', '=', hash);
    const row = await found.executeTakeFirst();
    return row && refreshRowOf(row);
  }

  addRefresh(
    row: RefreshRow,
    { nowMs, max, replaces }: { nowMs: number; max: number; replaces?: string },
  ): Promise<boolean> {
    return transact(
      this.#db,
      async (db) => {
        if (replaces !== undefined) {
          const marked = await db
            .updateTable('refresh_token')
            .set({ replaced_at_ms: nowMs })
            .where('hash', '=', replaces)
            .where('replaced_at_ms', 'is', null)
            .executeTakeFirst();
          if (marked.numUpdatedRows === 0n) return false;
        }
        await db.deleteFrom('refresh_token').where('expires_at_ms', '<=', nowMs).execute();
        const surplus = await db
          .selectFrom('refresh_token')
          .select('hash')
          .where('subject', '=', row.subject)
          .orderBy('expires_at_ms', 'desc')
          .offset(max - 1)
          .limit(max)
          .execute();
        const old = surplus.map(({ hash }) => hash);
        if (old.length > 0) await db.deleteFrom('refresh_token').where('hash', 'in', old).execute();
        await db
          .insertInto('refresh_token')
          .values({
            hash: row.hash,
            family: row.family,
            subject: row.subject,
            service: row.service,
            epoch: row.epoch,
            expires_at_ms: row.expiresAtMs,
            replaced_at_ms: row.replacedAtMs ?? null,
          })
          .execute();
        return true;
      },
      { lock: 'access' },
    );
  }

  async deleteFamily(family: string): Promise<void> {
    await this.#db.deleteFrom('refresh_token').where('family', '=', family).execute();
  }

  async deleteRefreshOf(subject: string): Promise<number> {
    const removal = this.#db.deleteFrom('refresh_token').where('subject', '=', subject);
    return Number((await removal.executeTakeFirst()).numDeletedRows);
  }
}
