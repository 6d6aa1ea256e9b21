import type { Kysely, Selectable } from 'kysely';
import type { Digest } from '../../../proto/oci/digest.ts';
import type { RegistryTables } from '../schema.ts';

/** Manifests read at a time while the table is filled; each has up to 4 MiB. */
const BATCH_ROWS = 16;

/**
 * What the referrers API lists, so that a page of it reads nothing but that page. Manifests that
 * are there already are put into the table.
 */
export async function up(db: Kysely<RegistryTables>): Promise<void> {
  await createTable(db);
  const all = db
    .selectFrom('manifest')
    .select(['repository', 'digest', 'media_type', 'bytes', 'subject', 'artifact_type'])
    .where('subject', 'is not', null);
  let end: { repository: string; digest: Digest } | undefined;
  for (;;) {
    const last = end;
    const rest: typeof all =
      last === undefined
        ? all
        : all.where((is) =>
            is.or([
              is('repository', '>', last.repository),
              is.and([is('repository', '=', last.repository), is('digest', '>', last.digest)]),
            ]),
          );
    // oxlint-disable-next-line no-await-in-loop -- one batch after the other
    const rows = await rest.orderBy('repository').orderBy('digest').limit(BATCH_ROWS).execute();
    end = rows.at(-1);
    if (end === undefined) return;
    const values = rows.flatMap((row) => referrerOf(row) ?? []);
    // oxlint-disable-next-line no-await-in-loop -- one batch after the other
    if (values.length > 0) await db.insertInto('referrer').values(values).execute();
  }
}

async function createTable(db: Kysely<RegistryTables>): Promise<void> {
  await db.schema
    .createTable('referrer')
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('media_type', 'text', (column) => column.notNull())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('artifact_type', 'text')
    .addColumn('annotations', 'text')
    .addColumn('entry_bytes', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('referrer_key', ['repository', 'digest'])
    .addForeignKeyConstraint(
      'referrer_is_manifest',
      ['repository', 'digest'],
      'manifest',
      ['repository', 'digest'],
      (key) => key.onDelete('cascade'),
    )
    .execute();
  await db.schema
    .createIndex('referrer_by_subject')
    .on('referrer')
    .columns(['repository', 'subject', 'digest'])
    .execute();
  await db.schema
    .createIndex('referrer_by_type')
    .on('referrer')
    .columns(['repository', 'subject', 'artifact_type', 'digest'])
    .execute();
}

/** The manifest was checked when it was pushed. */
function referrerOf(row: Omit<Selectable<RegistryTables['manifest']>, 'untagged_since_ms'>) {
  const { repository, digest, subject, media_type, bytes } = row;
  if (subject === null) return undefined;
  const size = bytes.byteLength;
  const { annotations, config } = JSON.parse(Buffer.from(bytes).toString());
  const artifactType: unknown = row.artifact_type || config?.mediaType;
  const type = typeof artifactType === 'string' ? artifactType : null;
  const entry = { mediaType: media_type, digest, size, artifactType: type, annotations };
  return {
    repository,
    digest,
    subject,
    media_type,
    size,
    artifact_type: type,
    annotations: annotations ? JSON.stringify(annotations) : null,
    entry_bytes: Buffer.byteLength(JSON.stringify(entry)),
  };
}
