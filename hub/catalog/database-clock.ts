import { PostgresAdapter, sql, type Kysely, type RawBuilder } from 'kysely';

/**
 * Milliseconds since 1970 by the clock of the database, for SQL: the one clock of all hubs that
 * share it, however wrong their own are.
 */
export function databaseNow(db: Pick<Kysely<never>, 'getExecutor'>): RawBuilder<number> {
  return db.getExecutor().adapter instanceof PostgresAdapter
    ? sql<number>`cast(extract(epoch from clock_timestamp()) * 1000 as bigint)`
    : sql<number>`cast(unixepoch('subsec') * 1000 as integer)`;
}
