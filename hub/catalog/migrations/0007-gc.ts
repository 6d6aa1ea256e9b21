import { sql, type Kysely } from 'kysely';
import type { RegistryTables } from '../schema.ts';

/** What the collector of unused blobs goes by. Its cost follows what is unused. */
export async function up(db: Kysely<RegistryTables>): Promise<void> {
  await addColumns(db);
  await db.schema
    .createTable('removed_link')
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('removed_at_ms', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('removed_link_key', ['digest', 'repository'])
    .execute();
  await db.schema
    .createIndex('removed_link_by_time')
    .on('removed_link')
    .column('removed_at_ms')
    .execute();
  await db.schema
    .createTable('collector')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('holder', 'text', (column) => column.notNull())
    .addColumn('held_until_ms', 'bigint', (column) => column.notNull())
    .addColumn('epoch', 'integer', (column) => column.notNull())
    .addColumn('begun_at_ms', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('purged_digest')
    .addColumn('digest', 'text', (column) => column.primaryKey())
    .addColumn('purged_at_ms', 'bigint', (column) => column.notNull())
    .execute();
  await noteWhatIsUnused(db, Date.now());
}

async function addColumns(db: Kysely<RegistryTables>): Promise<void> {
  await db.schema.alterTable('blob').addColumn('quarantined_at_ms', 'bigint').execute();
  await db.schema
    .alterTable('blob')
    .addColumn('deleting', 'integer', (column) => column.notNull().defaultTo(0))
    .execute();
  await db.schema
    .alterTable('blob')
    .addColumn('pinned_until_ms', 'bigint', (column) => column.notNull().defaultTo(0))
    .execute();
  await db.schema.alterTable('repository_blob').addColumn('unused_since_ms', 'bigint').execute();
  await db.schema
    .createIndex('blob_in_quarantine')
    .on('blob')
    .columns(['quarantined_at_ms', 'digest'])
    .where('quarantined_at_ms', 'is not', null)
    .execute();
  await db.schema
    .createIndex('repository_blob_unused')
    .on('repository_blob')
    .columns(['unused_since_ms', 'digest', 'repository'])
    .where('unused_since_ms', 'is not', null)
    .execute();
}

async function noteWhatIsUnused(db: Kysely<RegistryTables>, nowMs: number): Promise<void> {
  await db
    .updateTable('repository_blob')
    .set({ unused_since_ms: nowMs })
    .where((is) =>
      is.not(
        is.exists(
          is
            .selectFrom('manifest_reference as reference')
            .select(sql<number>`1`.as('one'))
            .whereRef('reference.repository', '=', 'repository_blob.repository')
            .whereRef('reference.digest', '=', 'repository_blob.digest')
            .where('reference.kind', '=', 'blob'),
        ),
      ),
    )
    .execute();
  await db
    .updateTable('blob')
    .set({ quarantined_at_ms: nowMs })
    .where((is) =>
      is.not(
        is.exists(
          is
            .selectFrom('repository_blob as own')
            .select(sql<number>`1`.as('one'))
            .whereRef('own.digest', '=', 'blob.digest'),
        ),
      ),
    )
    .execute();
}
