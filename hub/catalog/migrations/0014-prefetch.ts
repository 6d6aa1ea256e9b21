import { sql, type Kysely } from 'kysely';

/** Images that agents are to have before they are asked for: orders, their nodes, and policies. */
export async function up<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('prefetch_order')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('policy', 'text')
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('reference', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    // JSON.
    .addColumn('choice', 'text', (column) => column.notNull())
    .addColumn('platforms', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('epoch', 'text', (column) => column.notNull())
    .addColumn('reach_ms', 'bigint', (column) => column.notNull())
    .addColumn('created_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('expires_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('ended_at_ms', 'bigint')
    .addColumn('result', 'text')
    .execute();
  await db.schema
    .createIndex('prefetch_order_open')
    .on('prefetch_order')
    .columns(['created_at_ms', 'id'])
    .where(sql.ref('ended_at_ms'), 'is', null)
    .execute();
  await db.schema
    .createTable('prefetch_node')
    .addColumn('order_id', 'text', (column) => column.notNull())
    .addColumn('node', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('done_bytes', 'bigint', (column) => column.notNull())
    .addColumn('total_bytes', 'bigint', (column) => column.notNull())
    .addColumn('reason', 'text', (column) => column.notNull())
    .addColumn('chosen_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('seen_at_ms', 'bigint')
    .addPrimaryKeyConstraint('prefetch_node_key', ['order_id', 'node'])
    .execute();
  await db.schema
    .createIndex('prefetch_node_by_state')
    .on('prefetch_node')
    .columns(['order_id', 'state'])
    .execute();
  await db.schema.createIndex('prefetch_node_by_node').on('prefetch_node').column('node').execute();
  await db.schema
    .createTable('prefetch_policy')
    .addColumn('name', 'text', (column) => column.primaryKey())
    // JSON.
    .addColumn('spec', 'text', (column) => column.notNull())
    .addColumn('created_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('next_at_ms', 'bigint')
    .addColumn('note', 'text', (column) => column.notNull().defaultTo(''))
    .execute();
}
