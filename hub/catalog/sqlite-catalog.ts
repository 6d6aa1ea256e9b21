import { Kysely } from 'kysely';
import { migrate } from './migrate.ts';
import { DatabaseCatalog, type OpenCatalog } from './open-catalog.ts';
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
  return new DatabaseCatalog(db);
}
