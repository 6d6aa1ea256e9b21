import { sql, type Kysely } from 'kysely';

/** Work that outlives the hub that does it, and rules of replication, which is such work. */
export async function up<Tables>(db: Kysely<Tables>): Promise<void> {
  await jobs(db);
  await replication(db);
}

async function jobs<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('job')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('lane', 'text', (column) => column.notNull())
    // Of a job that nobody has begun yet.
    .addColumn('waiting_key', 'text')
    .addColumn('payload', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('epoch', 'bigint', (column) => column.notNull())
    .addColumn('claims', 'integer', (column) => column.notNull())
    .addColumn('attempt', 'integer', (column) => column.notNull())
    .addColumn('attempts_max', 'integer', (column) => column.notNull())
    .addColumn('stopping', 'integer', (column) => column.notNull())
    .addColumn('progress', 'text', (column) => column.notNull())
    .addColumn('message', 'text', (column) => column.notNull())
    .addColumn('made_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('due_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('begun_at_ms', 'bigint')
    .addColumn('ended_at_ms', 'bigint')
    .execute();
  await db.schema.createIndex('job_waiting_key').unique().on('job').column('waiting_key').execute();
  await db.schema
    .createIndex('job_due')
    .on('job')
    .columns(['due_at_ms', 'id'])
    .where(sql.ref('ended_at_ms'), 'is', null)
    .execute();
  await db.schema
    .createIndex('job_by_subject')
    .on('job')
    .columns(['kind', 'subject', 'id'])
    .execute();
  await db.schema
    .createIndex('job_ended')
    .on('job')
    .columns(['ended_at_ms', 'id'])
    .where('ended_at_ms', 'is not', null)
    .execute();
  await db.schema
    .createTable('job_schedule')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('cron', 'text', (column) => column.notNull())
    .addColumn('job', 'text', (column) => column.notNull())
    .addColumn('next_at_ms', 'bigint', (column) => column.notNull())
    .execute();
}

async function replication<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('replication_rule')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('enabled', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('settings', 'text', (column) => column.notNull())
    .addColumn('changed_at_ms', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('replication_result')
    .addColumn('execution', 'text', (column) =>
      column.notNull().references('job.id').onDelete('cascade'),
    )
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('reference', 'text', (column) => column.notNull())
    .addColumn('destination', 'text', (column) => column.notNull())
    .addColumn('digest', 'text')
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('message', 'text', (column) => column.notNull())
    .addColumn('counts', 'text', (column) => column.notNull())
    .addColumn('attempts', 'integer', (column) => column.notNull())
    .addColumn('changed_at_ms', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('replication_result_key', ['execution', 'repository', 'reference'])
    .execute();
  // Blobs that are there in part, and how to go on with them.
  await db.schema
    .createTable('replication_transfer')
    .addColumn('place', 'text', (column) => column.notNull())
    .addColumn('repository', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('changed_at_ms', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('replication_transfer_key', ['place', 'repository', 'digest'])
    .execute();
  await db.schema
    .createIndex('replication_transfer_by_time')
    .on('replication_transfer')
    .column('changed_at_ms')
    .execute();
}
