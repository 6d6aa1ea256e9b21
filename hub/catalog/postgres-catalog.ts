import { Kysely, sql, type Transaction } from 'kysely';
import { MIGRATION_TIMEOUT_MS, SNAPSHOT_IDLE_MS } from './constants.ts';
import { CatalogError } from './errors.ts';
import { migrate } from './migrate.ts';
import { DatabaseCatalog, type OpenCatalog } from './open-catalog.ts';
import { postgresDialect } from './postgres-dialect.ts';
import type { PostgresPoolOptions } from './postgres-pool.ts';
import { RestoredTables } from './restored-tables.ts';
import type { RegistryTables } from './schema.ts';
import { lockNumber } from './transact.ts';

/**
 * The catalog in a PostgreSQL database, brought to the newest schema. Several hubs may open the
 * same database at once: one changes the schema, the others wait for it.
 * @throws CatalogError SCHEMA_TOO_NEW, CATALOG_UNAVAILABLE, DATABASE_UNFIT; errors of PostgreSQL
 */
export async function openPostgresCatalog(options: PostgresPoolOptions): Promise<OpenCatalog> {
  await prepare(options);
  const limits = { connections: 1, transactionIdleMs: SNAPSHOT_IDLE_MS };
  return new DatabaseCatalog(new Kysely({ dialect: postgresDialect(options) }), {
    reader: () => new Kysely({ dialect: postgresDialect({ ...options, ...limits }) }),
  });
}

/**
 * A PostgreSQL database that a backup is put into.
 * @throws CatalogError CATALOG_UNAVAILABLE, DATABASE_UNFIT; errors of PostgreSQL
 */
export async function openPostgresTables(options: PostgresPoolOptions): Promise<RestoredTables> {
  const limits = {
    statementTimeoutMs: MIGRATION_TIMEOUT_MS,
    answerTimeoutMs: MIGRATION_TIMEOUT_MS,
  };
  const db = new Kysely<RegistryTables>({ dialect: postgresDialect({ ...options, ...limits }) });
  try {
    await checkEncoding(db);
  } catch (err) {
    await db.destroy();
    throw err;
  }
  return new RestoredTables({ db });
}

/** Over a connection of its own: changing the schema may take longer than any other statement. */
async function prepare(options: PostgresPoolOptions): Promise<void> {
  const limits = {
    connections: 1,
    statementTimeoutMs: MIGRATION_TIMEOUT_MS,
    answerTimeoutMs: MIGRATION_TIMEOUT_MS,
    // Who opens the catalog is told by its failure.
    outage: undefined,
  };
  const db = new Kysely<RegistryTables>({ dialect: postgresDialect({ ...options, ...limits }) });
  try {
    await checkEncoding(db);
    await migrate(db, { begin: holdLock });
  } finally {
    await db.destroy();
  }
}

async function holdLock(db: Transaction<RegistryTables>): Promise<void> {
  await sql`select pg_advisory_xact_lock(${sql.lit(lockNumber('schema'))})`.execute(db);
}

async function checkEncoding(db: Kysely<RegistryTables>): Promise<void> {
  const { rows } = await sql<{ server_encoding: string }>`show server_encoding`.execute(db);
  const encoding = rows[0]?.server_encoding;
  if (encoding === 'UTF8') return;
  throw new CatalogError(
    `the database has the encoding ${encoding}; create one with encoding UTF8`,
    { code: 'DATABASE_UNFIT' },
  );
}
