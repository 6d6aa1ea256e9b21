import type { Kysely, Transaction } from 'kysely';
import { SCHEDULES_MAX } from '../jobs/constants.ts';
import { nextTime, parseCron } from '../jobs/cron.ts';
import { JobError } from '../jobs/errors.ts';
import type { NewJob, Schedule } from '../jobs/store.ts';
import { databaseNow } from './database-clock.ts';
import type { JobTables } from './job-store.ts';
import { transact, type TransactOptions } from './transact.ts';

// Schedules of jobs, in a table of migration 0013. Their times are by the clock of the database.

type Database = Kysely<JobTables>;
type Add = (db: Transaction<JobTables>, job: NewJob) => Promise<unknown>;

/** See JobStore.setSchedule. */
export async function setSchedule(db: Database, { name, cron, job }: Schedule): Promise<void> {
  const parsed = parseCron(cron);
  const known = await db
    .selectFrom('job_schedule')
    .select(['cron', 'next_at_ms'])
    .where('name', '=', name)
    .executeTakeFirst();
  if (known === undefined) await assertRoom(db);
  const isSame = known?.cron === cron;
  const next = isSame ? Number(known.next_at_ms) : nextTime(parsed, await timeOf(db));
  const row = { cron, job: JSON.stringify(job), next_at_ms: next ?? Number.MAX_SAFE_INTEGER };
  await db
    .insertInto('job_schedule')
    .values({ name, ...row })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
    .execute();
}

/** See JobStore.dropSchedule. */
export async function dropSchedule(db: Database, name: string): Promise<void> {
  await db.deleteFrom('job_schedule').where('name', '=', name).execute();
}

/** See JobStore.schedules. */
export async function schedulesOf(db: Database): Promise<(Schedule & { nextMs: number })[]> {
  const rows = await db.selectFrom('job_schedule').selectAll().orderBy('name').execute();
  return rows.map(({ name, cron, job, next_at_ms }) => {
    return { name, cron, job: JSON.parse(job), nextMs: Number(next_at_ms) };
  });
}

/** See JobStore.fire. However many times were missed, one job is made. */
export async function fire(db: Database, add: Add, alone: TransactOptions): Promise<number> {
  const due = await db
    .selectFrom('job_schedule')
    .selectAll()
    .where('next_at_ms', '<=', databaseNow(db))
    .orderBy('next_at_ms')
    .execute();
  let fired = 0;
  for (const { name, cron, job, next_at_ms } of due) {
    const work = async (own: Transaction<JobTables>): Promise<boolean> => {
      const next = nextTime(parseCron(cron), await timeOf(own)) ?? Number.MAX_SAFE_INTEGER;
      const { numUpdatedRows } = await own
        .updateTable('job_schedule')
        .set({ next_at_ms: next })
        .where('name', '=', name)
        .where('next_at_ms', '=', Number(next_at_ms))
        .executeTakeFirst();
      if (numUpdatedRows > 0n) await add(own, JSON.parse(job));
      return numUpdatedRows > 0n;
    };
    // oxlint-disable-next-line no-await-in-loop -- a transaction each
    if (await transact(db, work, alone)) fired += 1;
  }
  return fired;
}

async function timeOf(db: Database): Promise<number> {
  const { now } = await db
    .selectNoFrom(databaseNow(db).$castTo<number | string>().as('now'))
    .executeTakeFirstOrThrow();
  return Number(now);
}

async function assertRoom(db: Database): Promise<void> {
  const { count } = await db
    .selectFrom('job_schedule')
    .select((of) => of.fn.countAll().as('count'))
    .executeTakeFirstOrThrow();
  if (Number(count) < SCHEDULES_MAX) return;
  const message = `there are ${SCHEDULES_MAX} schedules, the most the catalog holds`;
  throw new JobError(message, { code: 'QUEUE_FULL', max: SCHEDULES_MAX });
}
