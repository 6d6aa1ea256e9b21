import type { Kysely } from 'kysely';
import type { RegistryTables } from '../schema.ts';

type MemberTables = { fleet_member: { serial: number; changed: number } };

/** What hubs that share a catalog have in common: keys, changes of members, counts, leases. */
export async function up(db: Kysely<RegistryTables>): Promise<void> {
  await db.schema
    .createTable('fleet_key_ring')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('serial', 'bigint', (column) => column.notNull())
    .addColumn('sealed_with', 'text', (column) => column.notNull())
    // Base64.
    .addColumn('sealed', 'text', (column) => column.notNull())
    .execute();
  await followMembers(db);
  await countLogins(db);
  await db.schema
    .createTable('named_lease')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('holder', 'text', (column) => column.notNull())
    .addColumn('epoch', 'bigint', (column) => column.notNull())
    .addColumn('until_ms', 'bigint', (column) => column.notNull())
    .execute();
}

async function followMembers(db: Kysely<RegistryTables>): Promise<void> {
  await db.schema
    .alterTable('fleet_member')
    .addColumn('changed', 'bigint', (column) => column.notNull().defaultTo(0))
    .execute();
  await db
    .withTables<MemberTables>()
    .updateTable('fleet_member')
    .set((expression) => ({ changed: expression.ref('serial') }))
    .execute();
  await db.schema
    .createIndex('fleet_member_by_change')
    .on('fleet_member')
    .column('changed')
    .execute();
  await db.schema
    .createTable('fleet_last_call')
    .addColumn('peer_id', 'text', (column) => column.notNull())
    .addColumn('call', 'text', (column) => column.notNull())
    .addColumn('time_ms', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('fleet_last_call_key', ['peer_id', 'call'])
    .execute();
  await db.schema
    .createIndex('fleet_last_call_by_time')
    .on('fleet_last_call')
    .column('time_ms')
    .execute();
}

async function countLogins(db: Kysely<RegistryTables>): Promise<void> {
  await db.schema
    .createTable('login_failure')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('full_at_ms', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('login_failure_by_end')
    .on('login_failure')
    .column('full_at_ms')
    .execute();
  await db.schema
    .createTable('login_success')
    .addColumn('pair', 'text', (column) => column.primaryKey())
    .addColumn('until_ms', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('login_success_by_end')
    .on('login_success')
    .column('until_ms')
    .execute();
}
