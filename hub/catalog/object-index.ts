import { sql, type Kysely, type Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import type { LooseObject, ObjectDirectory, ObjectIndex } from '../blobs/s3/object-index.ts';
import { batches } from './links.ts';
import type { Big } from './schema.ts';
import { transact } from './transact.ts';

/** Tables of migration 0005. */
export type ObjectTables = {
  blob_object: { digest: Digest; object_key: string; size: Big };
  loose_object: { object_key: string; pending: string; noted_at_ms: Big };
};

/** The objects of a bucket, in the tables of migration 0005. */
export class KyselyObjectIndex implements ObjectIndex, ObjectDirectory {
  readonly #db: Kysely<ObjectTables>;

  constructor(modules: { db: Kysely<ObjectTables> }) {
    this.#db = modules.db;
  }

  find(digest: Digest): Promise<{ key: string; size: number } | undefined> {
    return find(this.#db, digest);
  }

  note(object: LooseObject, nowMs: number): Promise<void> {
    return note(this.#db, object, nowMs);
  }

  async touch(keys: readonly string[], nowMs: number): Promise<boolean> {
    if (keys.length === 0) return true;
    const { numUpdatedRows } = await this.#db
      .updateTable('loose_object')
      .set({ noted_at_ms: nowMs })
      .where('object_key', 'in', keys)
      .executeTakeFirst();
    return Number(numUpdatedRows) === keys.length;
  }

  commit(
    { digest, key, size, lost }: Parameters<ObjectIndex['commit']>[0],
    nowMs: number,
  ): Promise<{ key: string; size: number }> {
    return transact(this.#db, async (db) => {
      if (lost !== undefined) {
        const { numDeletedRows } = await db
          .deleteFrom('blob_object')
          .where('digest', '=', digest)
          .where('object_key', '=', lost)
          .executeTakeFirst();
        if (numDeletedRows > 0n) await note(db, { key: lost, pending: '' }, nowMs);
      }
      await db
        .insertInto('blob_object')
        .values({ digest, object_key: key, size })
        .onConflict((conflict) => conflict.column('digest').doNothing())
        .execute();
      const own = (await find(db, digest)) ?? { key, size };
      if (own.key === key) {
        await db.deleteFrom('loose_object').where('object_key', '=', key).execute();
      }
      return own;
    });
  }

  remove({ digest, key }: Parameters<ObjectIndex['remove']>[0], nowMs: number): Promise<boolean> {
    return transact(this.#db, async (db) => {
      const any = db.deleteFrom('blob_object').where('digest', '=', digest);
      const row = await (key === undefined ? any : any.where('object_key', '=', key))
        .returning('object_key')
        .executeTakeFirst();
      if (row === undefined) return false;
      await note(db, { key: row.object_key, pending: '' }, nowMs);
      return true;
    });
  }

  async loose(page: { beforeMs: number; after: string; max: number }): Promise<LooseObject[]> {
    const rows = await this.#db
      .selectFrom('loose_object')
      .select(['object_key', 'pending'])
      .where('noted_at_ms', '<', page.beforeMs)
      .where('object_key', '>', page.after)
      .orderBy('object_key')
      .limit(page.max)
      .execute();
    return rows.map(({ object_key: key, pending }) => ({ key, pending }));
  }

  async blobs({ after, max }: { after: string; max: number }) {
    const rows = await this.#db
      .selectFrom('blob_object')
      .select(['digest', 'size'])
      .where(sql<string>`digest`, '>', after)
      .orderBy('digest')
      .limit(max)
      .execute();
    return rows.map(({ digest, size }) => ({ digest, size: Number(size) }));
  }

  async owners(keys: readonly string[]): Promise<ReadonlyMap<string, Digest>> {
    const found = new Map<string, Digest>();
    for (const batch of batches(keys)) {
      const rows = await this.#db
        .selectFrom('blob_object')
        .select(['object_key', 'digest'])
        .where('object_key', 'in', batch)
        .execute();
      for (const { object_key: key, digest } of rows) found.set(key, digest);
    }
    return found;
  }

  async looseOf(keys: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    for (const batch of batches(keys)) {
      const rows = await this.#db
        .selectFrom('loose_object')
        .select(['object_key', 'pending'])
        .where('object_key', 'in', batch)
        .execute();
      for (const { object_key: key, pending } of rows) found.set(key, pending);
    }
    return found;
  }

  async forget(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return;
    await this.#db.deleteFrom('loose_object').where('object_key', 'in', keys).execute();
  }
}

async function find(
  db: Kysely<ObjectTables>,
  digest: Digest,
): Promise<{ key: string; size: number } | undefined> {
  const row = await db
    .selectFrom('blob_object')
    .select(['object_key', 'size'])
    .where('digest', '=', digest)
    .executeTakeFirst();
  return row && { key: row.object_key, size: Number(row.size) };
}

async function note(
  db: Kysely<ObjectTables> | Transaction<ObjectTables>,
  { key, pending }: LooseObject,
  nowMs: number,
): Promise<void> {
  await db
    .insertInto('loose_object')
    .values({ object_key: key, pending, noted_at_ms: nowMs })
    .onConflict((conflict) => conflict.column('object_key').doUpdateSet({ noted_at_ms: nowMs }))
    .execute();
}
