import { Kysely } from 'kysely';
import { KyselyCatalog } from './kysely-catalog.ts';
import { migrate } from './migrate.ts';
import type { Catalog } from './port.ts';
import type { RegistryTables } from './schema.ts';
import { sqliteDialect } from './sqlite-dialect.ts';

/** A catalog with the database it is in, for the other stores in there. */
export type SqliteCatalog = Catalog & {
  readonly db: Kysely<RegistryTables>;
  close(): Promise<void>;
};

class OpenCatalog extends KyselyCatalog implements SqliteCatalog {
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
export async function openSqliteCatalog(options: { path: string }): Promise<SqliteCatalog> {
  const db = new Kysely<RegistryTables>({ dialect: sqliteDialect(options) });
  try {
    await migrate(db);
  } catch (err) {
    await db.destroy();
    throw err;
  }
  return new OpenCatalog(db);
}
