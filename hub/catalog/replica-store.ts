import type { Kysely } from 'kysely';
import type { ReplicaRow, ReplicaSnapshot, ReplicaStore } from '../replicas/store.ts';
import type { Big } from './schema.ts';
import { change, transact } from './transact.ts';

/** Tables of migration 0009. */
export type ReplicaTables = {
  replica: { id: string; url: string; joined: Big; beat: Big; seen: Big };
  replica_epoch: { one: number; epoch: Big };
};

const ONE = 1;
const ALONE = { lock: 'replicas' };

/** The hubs that share this catalog, in the tables of migration 0009. */
export class KyselyReplicaStore implements ReplicaStore {
  readonly #db: Kysely<ReplicaTables>;

  constructor(modules: { db: Kysely<ReplicaTables> }) {
    this.#db = modules.db;
  }

  join(
    { id, url }: { id: string; url: string },
    { max }: { max: number },
  ): Promise<number | undefined> {
    const work = async (db: Kysely<ReplicaTables>): Promise<number | undefined> => {
      const others = await db.selectFrom('replica').select('id').where('id', '!=', id).execute();
      if (others.length >= max) return undefined;
      const joined = await nextEpoch(db);
      await db.deleteFrom('replica').where('id', '=', id).execute();
      await db.insertInto('replica').values({ id, url, joined, beat: 0, seen: 0 }).execute();
      return joined;
    };
    return transact(this.#db, work, ALONE);
  }

  async beat(replica: { id: string; joined: number; seen: number }): Promise<ReplicaSnapshot> {
    const { id, joined, seen } = replica;
    await change(this.#db, (db) =>
      db
        .updateTable('replica')
        .set((expression) => ({ beat: expression('beat', '+', 1).$castTo<number>(), seen }))
        .where('id', '=', id)
        .where('joined', '=', joined)
        .execute(),
    );
    // One statement: an epoch and the replicas of that epoch.
    const rows = await this.#db
      .selectFrom('replica_epoch')
      .leftJoin('replica', (join) => join.onTrue())
      .where('one', '=', ONE)
      .select(['epoch', 'id', 'url', 'joined', 'beat', 'seen'])
      .orderBy('id')
      .execute();
    const replicas = rows.flatMap((row): ReplicaRow[] =>
      row.id === null || row.url === null
        ? []
        : [
            {
              id: row.id,
              url: row.url,
              joined: Number(row.joined),
              beat: Number(row.beat),
              seen: Number(row.seen),
            },
          ],
    );
    return { epoch: Number(rows[0]?.epoch ?? 0), replicas };
  }

  evict({ id, joined, beat }: { id: string; joined: number; beat: number }): Promise<boolean> {
    return this.#remove((db) =>
      db
        .deleteFrom('replica')
        .where('id', '=', id)
        .where('joined', '=', joined)
        .where('beat', '=', beat)
        .executeTakeFirst(),
    );
  }

  async leave({ id, joined }: { id: string; joined: number }): Promise<void> {
    await this.#remove((db) =>
      db.deleteFrom('replica').where('id', '=', id).where('joined', '=', joined).executeTakeFirst(),
    );
  }

  #remove(
    remove: (db: Kysely<ReplicaTables>) => Promise<{ numDeletedRows: bigint }>,
  ): Promise<boolean> {
    const work = async (db: Kysely<ReplicaTables>): Promise<boolean> => {
      const { numDeletedRows } = await remove(db);
      if (numDeletedRows === 0n) return false;
      await nextEpoch(db);
      return true;
    };
    return transact(this.#db, work, ALONE);
  }
}

async function nextEpoch(db: Kysely<ReplicaTables>): Promise<number> {
  const row = await db
    .insertInto('replica_epoch')
    .values({ one: ONE, epoch: 1 })
    .onConflict((conflict) =>
      conflict
        .column('one')
        .doUpdateSet((expression) => ({ epoch: expression('replica_epoch.epoch', '+', 1) })),
    )
    .returning('epoch')
    .executeTakeFirstOrThrow();
  return Number(row.epoch);
}
