import type { Kysely } from 'kysely';
import { projectOf } from '../../access/project.ts';
import type { RegistryTables } from '../schema.ts';

type NewTables = { project: { name: string; visibility: string; created_at_ms: number } };

/** Repositories looked at with one statement. */
const BATCH_ROWS = 1000;

/** Projects, accounts, members, robots and refresh tokens. */
export async function up(db: Kysely<RegistryTables>): Promise<void> {
  await createProjects(db);
  await createRobots(db);
  await db.schema
    .createTable('refresh_token')
    .addColumn('hash', 'text', (column) => column.primaryKey())
    .addColumn('family', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('service', 'text', (column) => column.notNull())
    .addColumn('epoch', 'text', (column) => column.notNull())
    .addColumn('expires_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('replaced_at_ms', 'bigint')
    .execute();
  for (const column of ['subject', 'family', 'expires_at_ms']) {
    // oxlint-disable-next-line no-await-in-loop -- one statement after the other
    await db.schema
      .createIndex(`refresh_token_by_${column}`)
      .on('refresh_token')
      .column(column)
      .execute();
  }
  await adoptRepositories(db);
}

async function createProjects<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('project')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('visibility', 'text', (column) => column.notNull())
    .addColumn('created_at_ms', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('account')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('password_hash', 'text', (column) => column.notNull())
    .addColumn('disabled', 'integer', (column) => column.notNull())
    .addColumn('epoch', 'bigint', (column) => column.notNull())
    .addColumn('created_at_ms', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('project_member')
    .addColumn('project', 'text', (column) =>
      column.notNull().references('project.name').onDelete('cascade'),
    )
    .addColumn('account', 'text', (column) =>
      column.notNull().references('account.name').onDelete('cascade'),
    )
    .addColumn('role', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('project_member_key', ['project', 'account'])
    .execute();
  await db.schema
    .createIndex('project_member_by_account')
    .on('project_member')
    .columns(['account', 'project'])
    .execute();
}

async function createRobots<Tables>(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('robot')
    .addColumn('project', 'text', (column) =>
      column.notNull().references('project.name').onDelete('cascade'),
    )
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('description', 'text', (column) => column.notNull())
    .addColumn('secret_hash', 'text', (column) => column.notNull())
    // JSON list.
    .addColumn('permissions', 'text', (column) => column.notNull())
    .addColumn('expires_at_ms', 'bigint')
    .addColumn('disabled', 'integer', (column) => column.notNull())
    .addColumn('epoch', 'bigint', (column) => column.notNull())
    .addColumn('created_at_ms', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('robot_key', ['project', 'name'])
    .execute();
}

/** What was pushed before there were projects was for everybody, and stays so. */
async function adoptRepositories(db: Kysely<RegistryTables>): Promise<void> {
  let last = '';
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- page after page
    const rows = await db
      .selectFrom('repository')
      .select('name')
      .where('name', '>', last)
      .orderBy('name')
      .limit(BATCH_ROWS)
      .execute();
    const names = new Set(rows.map(({ name }) => projectOf(name)));
    for (const name of names) {
      // oxlint-disable-next-line no-await-in-loop -- one statement after the other
      await db
        .withTables<NewTables>()
        .insertInto('project')
        .values({ name, visibility: 'public', created_at_ms: Date.now() })
        .onConflict((conflict) => conflict.column('name').doNothing())
        .execute();
    }
    last = rows.at(-1)?.name ?? '';
    if (rows.length < BATCH_ROWS) return;
  }
}
