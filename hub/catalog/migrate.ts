import { sql, type Kysely, type QueryExecutorProvider, type Transaction } from 'kysely';
import { CatalogError } from './errors.ts';
import { up as registry } from './migrations/0001-registry.ts';
import { up as fleet } from './migrations/0002-fleet.ts';
import { up as referrers } from './migrations/0003-referrers.ts';
import { up as uploads } from './migrations/0004-uploads.ts';
import { up as objects } from './migrations/0005-objects.ts';
import { up as access } from './migrations/0006-access.ts';
import { up as gc } from './migrations/0007-gc.ts';
import { up as shared } from './migrations/0008-shared.ts';
import { up as replicas } from './migrations/0009-replicas.ts';
import { up as collections } from './migrations/0010-collections.ts';
import { up as upstreamBudgets } from './migrations/0011-upstream-budgets.ts';
import { up as upstreamTags } from './migrations/0012-upstream-tags.ts';
import { up as jobs } from './migrations/0013-jobs.ts';
import { up as prefetch } from './migrations/0014-prefetch.ts';
import type { RegistryTables } from './schema.ts';

type VersionTables = { schema_version: { version: number } };

type Migration = (db: Kysely<RegistryTables>) => Promise<void>;

/** In order; the first makes version 1. What was released here is never changed. */
const MIGRATIONS: readonly Migration[] = [
  registry,
  fleet,
  referrers,
  uploads,
  objects,
  access,
  gc,
  shared,
  replicas,
  collections,
  upstreamBudgets,
  upstreamTags,
  jobs,
  prefetch,
];

/** The version that this program makes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** The version of the tables that are there; 0 for none. */
export async function schemaVersion(db: QueryExecutorProvider): Promise<number> {
  const { rows } = await sql<{ version: number | null }>`
    select max(version) as version from schema_version`.execute(db);
  return rows[0]?.version ?? 0;
}

/**
 * Brings the tables to the newest version, or to version `to`, all steps or none. There is no way
 * back. `begin` makes programs that do this at the same time wait for each other, where beginning
 * to write does not.
 * @throws CatalogError SCHEMA_TOO_NEW for a database that a newer program has written
 */
export async function migrate(
  db: Kysely<RegistryTables>,
  options: { begin?: (db: Transaction<RegistryTables>) => Promise<void>; to?: number } = {},
): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await options.begin?.(transaction);
    const own = transaction.withTables<VersionTables>();
    await own.schema
      .createTable('schema_version')
      .ifNotExists()
      .addColumn('version', 'integer', (column) => column.primaryKey())
      .execute();
    const found = await schemaVersion(transaction);
    if (found > MIGRATIONS.length) throw tooNew(found);
    for (const [index, up] of MIGRATIONS.slice(0, options.to).entries()) {
      if (index < found) continue;
      // oxlint-disable-next-line no-await-in-loop -- one step after the other
      await up(transaction);
      // oxlint-disable-next-line no-await-in-loop -- one step after the other
      await own
        .insertInto('schema_version')
        .values({ version: index + 1 })
        .execute();
    }
  });
}

function tooNew(found: number): CatalogError {
  const known = MIGRATIONS.length;
  return new CatalogError(
    `the catalog has schema version ${found}, this program knows ${known} and older; ` +
      'start the newer program, or restore the copy made before the upgrade',
    { code: 'SCHEMA_TOO_NEW', found, known },
  );
}
