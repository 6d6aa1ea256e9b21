import type { Kysely } from 'kysely';

/** Objects of a bucket: those of blobs, and those that no blob owns. */
export async function up<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('blob_object')
    .addColumn('digest', 'text', (column) => column.primaryKey())
    .addColumn('object_key', 'text', (column) => column.notNull().unique())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('loose_object')
    .addColumn('object_key', 'text', (column) => column.primaryKey())
    .addColumn('pending', 'text', (column) => column.notNull())
    .addColumn('noted_at_ms', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('loose_object_by_time')
    .on('loose_object')
    .column('noted_at_ms')
    .execute();
}
