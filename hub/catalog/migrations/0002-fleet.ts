import type { Kysely } from 'kysely';

/** Members, join tokens and settings of the fleet. */
export async function up<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('fleet_meta')
    .addColumn('key', 'text', (column) => column.primaryKey())
    .addColumn('value', 'text', (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('fleet_member')
    .addColumn('serial', 'bigint', (column) => column.primaryKey())
    .addColumn('peer_id', 'text', (column) => column.notNull())
    .addColumn('node', 'text', (column) => column.notNull())
    .addColumn('zone', 'text', (column) => column.notNull())
    .addColumn('addresses', 'text', (column) => column.notNull())
    .addColumn('libp2p_port', 'integer', (column) => column.notNull())
    .addColumn('lane_port', 'integer', (column) => column.notNull())
    .addColumn('not_before_ms', 'bigint', (column) => column.notNull())
    .addColumn('not_after_ms', 'bigint', (column) => column.notNull())
    .addColumn('revoked_at_ms', 'bigint')
    // Base64: the one form that every database stores alike.
    .addColumn('certificate', 'text', (column) => column.notNull())
    .addColumn('build', 'text', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('fleet_member_by_end')
    .on('fleet_member')
    .column('not_after_ms')
    .execute();
  await db.schema
    .createTable('fleet_join_token')
    .addColumn('token_id', 'text', (column) => column.primaryKey())
    .addColumn('secret_hash', 'text', (column) => column.notNull())
    .addColumn('expires_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('uses_left', 'integer', (column) => column.notNull())
    .execute();
}
