import { sql, type Kysely } from 'kysely';
import type { RegistryTables } from '../schema.ts';

/**
 * Which manifests may be of no use to anybody, so that the cost of finding them follows their
 * number; what collections did; and which agents have removed what was taken down.
 */
export async function up(db: Kysely<RegistryTables>): Promise<void> {
  await db.schema
    .createTable('gc_run')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('begun_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('ended_at_ms', 'bigint')
    .addColumn('result', 'text', (column) => column.notNull())
    .addColumn('report', 'text', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('purge_acted')
    .addColumn('peer_id', 'text', (column) => column.primaryKey())
    .addColumn('version', 'text', (column) => column.notNull())
    .execute();
  await db.schema.alterTable('manifest').addColumn('untagged_since_ms', 'bigint').execute();
  await db.schema
    .createIndex('manifest_untagged')
    .on('manifest')
    .columns(['untagged_since_ms', 'digest', 'repository'])
    .where('untagged_since_ms', 'is not', null)
    .execute();
  await db
    .updateTable('manifest')
    .set({ untagged_since_ms: Date.now() })
    .where((is) =>
      is.not(
        is.exists(
          is
            .selectFrom('tag')
            .select(sql<number>`1`.as('one'))
            .whereRef('tag.repository', '=', 'manifest.repository')
            .whereRef('tag.digest', '=', 'manifest.digest'),
        ),
      ),
    )
    .execute();
}
