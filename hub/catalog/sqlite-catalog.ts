import { Kysely } from 'kysely';
import { KyselyCatalog } from './kysely-catalog.ts';
import { migrate } from './migrate.ts';
import type { Catalog } from './port.ts';
import type { RegistryTables } from './schema.ts';
import { sqliteDialect } from './sqlite-dialect.ts';

class SqliteCatalog extends KyselyCatalog {
  readonly db: Kysely<RegistryTables>;

  constructor(db: Kysely<RegistryTables>) {
    super({ db });
    this.db = db;
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}

/**
 * The catalog in a SQLite file, made or brought to the newest schema. The folder must be there.
 * @throws CatalogError SCHEMA_TOO_NEW; errors of node:sqlite
 */
export async function openSqliteCatalog(options: {
  path: string;
}): Promise<Catalog & { readonly db: Kysely<RegistryTables>; close(): Promise<void> }> {
  const db = new Kysely<RegistryTables>({ dialect: sqliteDialect(options) });
  try {
    await migrate(db);
  } catch (err) {
    await db.destroy();
    throw err;
  }
  return new SqliteCatalog(db);
}
