import type { Kysely } from 'kysely';

/** What hubs know together of the pulls that upstreams let them make. */
export async function up<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('upstream_budget')
    .addColumn('upstream', 'text', (column) => column.notNull())
    .addColumn('bucket', 'text', (column) => column.notNull())
    .addColumn('account', 'text', (column) => column.notNull())
    .addColumn('pulls', 'bigint')
    .addColumn('every_ms', 'bigint')
    .addColumn('full_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('blocked_until_ms', 'bigint', (column) => column.notNull())
    .addColumn('told_at_ms', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('upstream_budget_key', ['upstream', 'bucket'])
    .execute();
}
