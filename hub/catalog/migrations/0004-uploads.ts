import type { Kysely } from 'kysely';

/** Blob uploads that are under way. */
export async function up<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('upload_session')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('epoch', 'integer', (column) => column.notNull())
    .addColumn('holder', 'text', (column) => column.notNull())
    .addColumn('held_until_ms', 'bigint', (column) => column.notNull())
    .addColumn('used_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('expires_at_ms', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('upload_session_by_end')
    .on('upload_session')
    .column('expires_at_ms')
    .execute();
  // Rows of their own: a long upload in many requests would else write all its leaves each time.
  await db.schema
    .createTable('upload_leaves')
    .addColumn('session', 'text', (column) =>
      column.notNull().references('upload_session.id').onDelete('cascade'),
    )
    .addColumn('first', 'integer', (column) => column.notNull())
    .addColumn('hashes', 'blob', (column) => column.notNull())
    .addPrimaryKeyConstraint('upload_leaves_key', ['session', 'first'])
    .execute();
}
