import type { Kysely } from 'kysely';

/** Repositories, blobs, manifests and tags. */
export async function up<Tables>(db: Kysely<Tables>): Promise<void> {
  const { schema } = db;
  await schema
    .createTable('repository')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .execute();
  await schema
    .createTable('blob')
    .addColumn('digest', 'text', (column) => column.primaryKey())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('root', 'blob', (column) => column.notNull())
    .addColumn('hashes', 'blob', (column) => column.notNull())
    .execute();
  await schema
    .createTable('repository_blob')
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('repository_blob_key', ['repository', 'digest'])
    .execute();
  await schema
    .createTable('manifest')
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('media_type', 'text', (column) => column.notNull())
    .addColumn('bytes', 'blob', (column) => column.notNull())
    .addColumn('subject', 'text')
    .addColumn('artifact_type', 'text')
    .addPrimaryKeyConstraint('manifest_key', ['repository', 'digest'])
    .execute();
  await schema
    .createTable('manifest_reference')
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('manifest_digest', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('manifest_reference_key', [
      'repository',
      'manifest_digest',
      'digest',
      'kind',
    ])
    .execute();
  await schema
    .createTable('tag')
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('tag_key', ['repository', 'name'])
    .execute();
  const indexes = [
    ['manifest_by_subject', 'manifest', ['repository', 'subject']],
    ['reference_by_digest', 'manifest_reference', ['repository', 'digest']],
    ['tag_by_digest', 'tag', ['repository', 'digest']],
  ] as const;
  for (const [name, table, columns] of indexes) {
    await schema
      .createIndex(name)
      .on(table)
      .columns([...columns])
      .execute();
  }
}
