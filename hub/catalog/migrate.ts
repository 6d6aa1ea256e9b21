import { sql, type Kysely } from 'kysely';
import { CatalogError } from './errors.ts';
import { up as registry } from './migrations/0001-registry.ts';
import { up as fleet } from './migrations/0002-fleet.ts';

const MIGRATIONS = [registry, fleet] as const;

/**
 * Brings the schema to this version, each step in a transaction of its own.
 * @throws CatalogError SCHEMA_NEWER when a newer version has been here
 */
export async function migrate<Tables>(db: Kysely<Tables>): Promise<void> {
  await sql`create table if not exists schema_version (version integer not null)`.execute(db);
  const { rows } = await sql<{ version: number | null }>`
    select max(version) as version from schema_version`.execute(db);
  const found = Number(rows[0]?.version ?? 0);
  if (found > MIGRATIONS.length) {
    const message = `the catalog has schema ${found}, this version knows ${MIGRATIONS.length}`;
    throw new CatalogError(message, { code: 'SCHEMA_NEWER', found, known: MIGRATIONS.length });
  }
  for (const [index, up] of MIGRATIONS.entries()) {
    if (index < found) continue;
    await db.transaction().execute(async (trx) => {
      await sql`insert into schema_version (version) values (${index + 1})`.execute(trx);
      await up(trx);
    });
  }
}
