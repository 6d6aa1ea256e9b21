import type { Kysely } from 'kysely';

/** Repositories, blobs, manifests and tags. */
export async function up<Tables>(db: Kysely<Tables>): Promise<void> {
  await createBlobs(db);
  await createManifests(db);
  await db.schema
    .createTable('tag')
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('tag_key', ['repository', 'name'])
    .addForeignKeyConstraint(
      'tag_of_manifest',
      ['repository', 'digest'],
      'manifest',
      ['repository', 'digest'],
      (key) => key.onDelete('cascade'),
    )
    .execute();
  await db.schema
    .createIndex('tag_by_digest')
    .on('tag')
    .columns(['repository', 'digest'])
    .execute();
}

async function createBlobs<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('blob')
    .addColumn('digest', 'text', (column) => column.primaryKey())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('root', 'blob')
    .addColumn('hashes', 'blob')
    .execute();
  await db.schema
    .createTable('repository')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .execute();
  await db.schema
    .createTable('repository_blob')
    .addColumn('repository', 'text', (column) => column.notNull().references('repository.name'))
    .addColumn('digest', 'text', (column) => column.notNull().references('blob.digest'))
    .addPrimaryKeyConstraint('repository_blob_key', ['repository', 'digest'])
    .execute();
  await db.schema
    .createIndex('repository_blob_by_digest')
    .on('repository_blob')
    .column('digest')
    .execute();
}

async function createManifests<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('manifest')
    .addColumn('repository', 'text', (column) => column.notNull().references('repository.name'))
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('media_type', 'text', (column) => column.notNull())
    .addColumn('bytes', 'blob', (column) => column.notNull())
    .addColumn('subject', 'text')
    .addColumn('artifact_type', 'text')
    .addPrimaryKeyConstraint('manifest_key', ['repository', 'digest'])
    .execute();
  await db.schema
    .createIndex('manifest_by_subject')
    .on('manifest')
    .columns(['repository', 'subject'])
    .execute();
  await db.schema
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
    .addForeignKeyConstraint(
      'reference_of_manifest',
      ['repository', 'manifest_digest'],
      'manifest',
      ['repository', 'digest'],
      (key) => key.onDelete('cascade'),
    )
    .execute();
  await db.schema
    .createIndex('manifest_reference_by_digest')
    .on('manifest_reference')
    .columns(['repository', 'digest'])
    .execute();
}
