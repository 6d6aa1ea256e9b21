import type { Kysely } from 'kysely';

/** When tags of upstreams were last compared, and blobs of upstreams that are on their way. */
export async function up<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('upstream_tag')
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('etag', 'text')
    .addColumn('checked_at_ms', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('upstream_tag_key', ['repository', 'name'])
    .addForeignKeyConstraint(
      'upstream_tag_of_tag',
      ['repository', 'name'],
      'tag',
      ['repository', 'name'],
      (key) => key.onDelete('cascade'),
    )
    .execute();
  await db.schema
    .createTable('upstream_ingest')
    .addColumn('scope', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('session', 'text', (column) =>
      column.notNull().references('upload_session.id').onDelete('cascade'),
    )
    .addPrimaryKeyConstraint('upstream_ingest_key', ['scope', 'digest'])
    .execute();
  // What ends with an upload is found by it.
  await db.schema
    .createIndex('upstream_ingest_by_session')
    .on('upstream_ingest')
    .column('session')
    .execute();
}
