import { Kysely } from 'kysely';
import { ManifestCache } from './manifest-cache.ts';
import { migrate } from './migrate.ts';
import { DatabaseCatalog, type OpenCatalog } from './open-catalog.ts';
import { RestoredTables } from './restored-tables.ts';
import type { RegistryTables } from './schema.ts';
import { sqliteDialect } from './sqlite-dialect.ts';

/**
 * The catalog in a SQLite file, made or brought to the newest schema. The folder must be there.
 * @throws CatalogError SCHEMA_TOO_NEW; errors of node:sqlite
 */
export async function openSqliteCatalog(options: { path: string }): Promise<OpenCatalog> {
  const db = new Kysely<RegistryTables>({ dialect: sqliteDialect(options) });
  try {
    await migrate(db);
  } catch (err) {
    await db.destroy();
    throw err;
  }
  return new DatabaseCatalog(db, {
    cache: new ManifestCache(),
    reader: () => new Kysely({ dialect: sqliteDialect({ ...options, readOnly: true }) }),
  });
}

/** A SQLite file that a backup is put into. @throws errors of node:sqlite */
export function openSqliteTables(options: { path: string }): RestoredTables {
  return new RestoredTables({ db: new Kysely({ dialect: sqliteDialect(options) }) });
}
