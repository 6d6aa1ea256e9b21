import { randomBytes } from 'node:crypto';
import { sql, type ColumnType, type Kysely, type Selectable } from 'kysely';
import {
  JOB_CANDIDATES,
  JOB_CLAIMS_MAX,
  JOB_LEASE_KEPT_MS,
  JOB_LEASE_MS,
  JOB_MESSAGE_MAX_CHARS,
  JOB_TEXT_MAX_CHARS,
  JOBS_KEPT,
  JOBS_KEPT_PER_SUBJECT,
  JOBS_MAX,
} from '../jobs/constants.ts';
import { JobError } from '../jobs/errors.ts';
import type { Job, JobClaim, JobOutcome, JobPage, JobState, JobStore } from '../jobs/store.ts';
import type { NewJob, Schedule } from '../jobs/store.ts';
import { databaseNow } from './database-clock.ts';
import * as schedules from './job-schedules.ts';
import { NamedLeases, type LeaseTables, type NamedLease } from './named-lease.ts';
import type { Big } from './schema.ts';
import { change, transact } from './transact.ts';

type OptionalTime = ColumnType<number | string | null, number | null | undefined, number | null>;

/** Tables of migration 0013 that are about jobs. */
export type JobTables = LeaseTables & {
  job: {
    id: string;
    kind: string;
    subject: string;
    lane: string;
    /** Null once it is begun. */
    waiting_key: string | null;
    payload: string;
    state: string;
    /** Counts the claims of it, to tell the last one from those before. */
    epoch: Big;
    /** Claims since it last told of progress. */
    claims: number;
    attempt: number;
    attempts_max: number;
    stopping: number;
    progress: string;
    message: string;
    made_at_ms: Big;
    due_at_ms: Big;
    begun_at_ms: OptionalTime;
    ended_at_ms: OptionalTime;
  };
  job_schedule: { name: string; cron: string; job: string; next_at_ms: Big };
};

type Database = Kysely<JobTables>;
type Row = Selectable<JobTables['job']>;

const LEASES = 'job/';
const ALONE = { lock: 'jobs' };
const STATES: readonly JobState[] = ['queued', 'running', 'done', 'failed', 'stopped'];

/**
 * Jobs in the tables of migration 0013. Who works at a lane has its named lease; what he writes of
 * a job counts only while nobody claimed it after him.
 */
export class KyselyJobStore implements JobStore {
  readonly #db: Database;
  readonly #holder: string;
  readonly #leases: NamedLeases;

  /** `holder`: this hub among those that share the catalog. */
  constructor(options: { holder: string }, modules: { db: Database }) {
    this.#db = modules.db;
    this.#holder = options.holder;
    this.#leases = new NamedLeases(options, { db: modules.db.withTables<LeaseTables>() });
  }

  add(job: NewJob): Promise<{ id: string; isNew: boolean }> {
    return transact(this.#db, (db) => addJob(db, job), ALONE);
  }

  async claim(wish: {
    kinds: readonly string[];
    busy: readonly string[];
  }): Promise<JobClaim | undefined> {
    const lanes = new Set(await this.#dueLanes(wish));
    for (const lane of lanes) {
      // oxlint-disable-next-line no-await-in-loop -- the first that is free
      const lease = await this.#leases.acquire(`${LEASES}${lane}`, JOB_LEASE_MS);
      if (lease === undefined) continue;
      // oxlint-disable-next-line no-await-in-loop -- the first that is free
      const claim = await this.#take(lane, lease, wish.kinds);
      if (claim !== undefined) return claim;
      // oxlint-disable-next-line no-await-in-loop -- the first that is free
      await this.#leases.release(lease);
    }
    return undefined;
  }

  stop(id: string): Promise<'stopped' | 'stopping' | 'ended' | undefined> {
    return transact(this.#db, async (db) => {
      const { numUpdatedRows } = await db
        .updateTable('job')
        .set({ stopping: 1 })
        .where('id', '=', id)
        .where('ended_at_ms', 'is', null)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) {
        const known = await db.selectFrom('job').select('id').where('id', '=', id).execute();
        return known.length > 0 ? 'ended' : undefined;
      }
      const { numUpdatedRows: stopped } = await db
        .updateTable('job')
        .set({ state: 'stopped', waiting_key: null, ended_at_ms: databaseNow(db) })
        .where('id', '=', id)
        .where('state', '=', 'queued')
        .executeTakeFirst();
      return stopped > 0n ? 'stopped' : 'stopping';
    });
  }

  async job(id: string): Promise<Job | undefined> {
    const row = await this.#db
      .selectFrom('job')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst();
    return row && jobOf(row);
  }

  async jobs({ kind, subject, n, last }: JobPage): Promise<Job[]> {
    let rows = this.#db.selectFrom('job').selectAll();
    if (kind !== undefined) rows = rows.where('kind', '=', kind);
    if (subject !== undefined) rows = rows.where('subject', '=', subject);
    if (last !== undefined) rows = rows.where('id', '<', last);
    return (await rows.orderBy('id', 'desc').limit(n).execute()).map(jobOf);
  }

  async counts(): Promise<{ kind: string; state: JobState; count: number }[]> {
    const rows = await this.#db
      .selectFrom('job')
      .select((of) => ['kind', 'state', of.fn.countAll().as('count')])
      .where('ended_at_ms', 'is', null)
      .groupBy(['kind', 'state'])
      .execute();
    return rows.map(({ kind, state, count }) => {
      return { kind, state: stateOf(state), count: Number(count) };
    });
  }

  setSchedule(schedule: Schedule): Promise<void> {
    return transact(this.#db, (db) => schedules.setSchedule(db, schedule), ALONE);
  }

  dropSchedule(name: string): Promise<void> {
    return schedules.dropSchedule(this.#db, name);
  }

  schedules(): Promise<(Schedule & { nextMs: number })[]> {
    return schedules.schedulesOf(this.#db);
  }

  fire(): Promise<number> {
    return schedules.fire(this.#db, (db, job) => addJob(db, job), ALONE);
  }

  async sweep(): Promise<void> {
    await this.#leases.forget(LEASES, JOB_LEASE_KEPT_MS);
    await change(this.#db, (db) => {
      const kept = db
        .selectFrom('job')
        .select('id')
        .where('ended_at_ms', 'is not', null)
        .orderBy('ended_at_ms', 'desc')
        .orderBy('id', 'desc')
        .limit(JOBS_KEPT);
      return db
        .deleteFrom('job')
        .where('ended_at_ms', 'is not', null)
        .where('id', 'not in', kept)
        .execute();
    });
  }

  /** Lanes with a job that is due, which no other hub has; the longest waiting first. */
  async #dueLanes({
    kinds,
    busy,
  }: {
    kinds: readonly string[];
    busy: readonly string[];
  }): Promise<string[]> {
    if (kinds.length === 0) return [];
    const now = databaseNow(this.#db);
    let due = this.#db
      .selectFrom('job')
      .select('job.lane')
      .where('job.ended_at_ms', 'is', null)
      .where('job.due_at_ms', '<=', now)
      .where('job.kind', 'in', kinds)
      .where((is) =>
        is.not(
          is.exists(
            is
              .selectFrom('named_lease as lease')
              .select(sql<number>`1`.as('one'))
              .where('lease.name', '=', sql<string>`${LEASES} || job.lane`)
              .where('lease.until_ms', '>', now)
              .where('lease.holder', '!=', this.#holder),
          ),
        ),
      );
    if (busy.length > 0) due = due.where('job.lane', 'not in', busy);
    const rows = await due.orderBy('due_at_ms').orderBy('id').limit(JOB_CANDIDATES).execute();
    return rows.map(({ lane }) => lane);
  }

  /** The oldest job of a lane whose lease this hub has. */
  async #take(
    lane: string,
    lease: NamedLease,
    kinds: readonly string[],
  ): Promise<JobClaim | undefined> {
    const row = await transact(this.#db, async (db) => {
      const now = databaseNow(db);
      const found = await db
        .selectFrom('job')
        .select(['id', 'epoch'])
        .where('lane', '=', lane)
        .where('ended_at_ms', 'is', null)
        .where('due_at_ms', '<=', now)
        .where('kind', 'in', kinds)
        .orderBy('due_at_ms')
        .orderBy('id')
        .limit(1)
        .executeTakeFirst();
      if (found === undefined) return undefined;
      return db
        .updateTable('job')
        .set((own) => ({
          state: 'running',
          waiting_key: null,
          epoch: own('epoch', '+', 1).$castTo<number>(),
          claims: own('claims', '+', 1),
          begun_at_ms: own.fn.coalesce('begun_at_ms', now).$castTo<number>(),
        }))
        .where('id', '=', found.id)
        .where('epoch', '=', found.epoch)
        .where('ended_at_ms', 'is', null)
        .returningAll()
        .executeTakeFirst();
    });
    if (row === undefined) return undefined;
    const claim = new Claim(row, lease, { db: this.#db, leases: this.#leases });
    if (row.stopping !== 0) await claim.end({ state: 'stopped', message: '' });
    else if (row.claims > JOB_CLAIMS_MAX) {
      const message = `begun ${JOB_CLAIMS_MAX} times without any progress, as if it ended the hub`;
      await claim.end({ state: 'failed', message });
    } else return claim;
    return undefined;
  }
}

class Claim implements JobClaim {
  readonly job: Job;
  readonly #epoch: number;
  #lease: NamedLease;
  readonly #modules: { db: Database; leases: NamedLeases };

  constructor(row: Row, lease: NamedLease, modules: { db: Database; leases: NamedLeases }) {
    this.job = jobOf(row);
    this.#epoch = Number(row.epoch);
    this.#lease = lease;
    this.#modules = modules;
  }

  get endsAtMs(): number {
    return this.#lease.endsAtMs;
  }

  async renew(): Promise<'held' | 'stop' | 'lost'> {
    const renewed = await this.#modules.leases.renew(this.#lease, JOB_LEASE_MS);
    if (renewed === undefined) return 'lost';
    this.#lease = renewed;
    const row = await this.#modules.db
      .selectFrom('job')
      .select('stopping')
      .where('id', '=', this.job.id)
      .where('epoch', '=', this.#epoch)
      .where('ended_at_ms', 'is', null)
      .executeTakeFirst();
    if (row === undefined) return 'lost';
    return row.stopping === 0 ? 'held' : 'stop';
  }

  async note(progress: string): Promise<boolean> {
    const set = { progress: progress.slice(0, JOB_TEXT_MAX_CHARS), claims: 0 };
    const { numUpdatedRows } = await change(this.#modules.db, (db) =>
      this.#own(db).set(set).executeTakeFirst(),
    );
    return numUpdatedRows > 0n;
  }

  async end(outcome: JobOutcome): Promise<boolean> {
    const ended = await transact(this.#modules.db, async (db) => {
      const { numUpdatedRows } = await this.#own(db)
        .set((own) => changesOf(outcome, { now: databaseNow(db), attempt: own.ref('attempt') }))
        .executeTakeFirst();
      if (numUpdatedRows > 0n) await forgetOld(db, this.job);
      return numUpdatedRows > 0n;
    });
    await this.#modules.leases.release(this.#lease);
    return ended;
  }

  #own(db: Database) {
    return db
      .updateTable('job')
      .where('id', '=', this.job.id)
      .where('epoch', '=', this.#epoch)
      .where('ended_at_ms', 'is', null);
  }
}

type Now = ReturnType<typeof databaseNow>;

function changesOf(outcome: JobOutcome, { now, attempt }: { now: Now; attempt: unknown }) {
  if (outcome.state === 'given-up') return { state: 'queued', due_at_ms: now };
  const message = outcome.message.slice(0, JOB_MESSAGE_MAX_CHARS).replaceAll('\0', '');
  if (outcome.state !== 'retry') return { state: outcome.state, message, ended_at_ms: now };
  return {
    state: 'queued',
    message,
    claims: 0,
    attempt: sql<number>`${attempt} + 1`,
    due_at_ms: sql<number>`${now} + ${Math.round(outcome.inMs)}`,
  };
}

async function addJob(
  db: Database,
  { kind, subject, lane, key, payload, attemptsMax }: NewJob,
): Promise<{ id: string; isNew: boolean }> {
  if (key !== undefined) {
    const waiting = await db
      .selectFrom('job')
      .select('id')
      .where('waiting_key', '=', key)
      .executeTakeFirst();
    if (waiting !== undefined) return { id: waiting.id, isNew: false };
  }
  const { count } = await db
    .selectFrom('job')
    .select((of) => of.fn.countAll().as('count'))
    .where('ended_at_ms', 'is', null)
    .executeTakeFirstOrThrow();
  if (Number(count) >= JOBS_MAX) {
    const message = `${JOBS_MAX} jobs wait already; stop some, or try again later`;
    throw new JobError(message, { code: 'QUEUE_FULL', max: JOBS_MAX });
  }
  const id = newId();
  const now = databaseNow(db);
  await db
    .insertInto('job')
    .values({
      id,
      kind,
      subject,
      lane: lane ?? id,
      waiting_key: key ?? null,
      payload,
      state: 'queued',
      epoch: 0,
      claims: 0,
      attempt: 0,
      attempts_max: attemptsMax,
      stopping: 0,
      progress: '',
      message: '',
      made_at_ms: now,
      due_at_ms: now,
    })
    .execute();
  return { id, isNew: true };
}

async function forgetOld(db: Database, { kind, subject }: Job): Promise<void> {
  const ended = db
    .selectFrom('job')
    .select('id')
    .where('kind', '=', kind)
    .where('subject', '=', subject)
    .where('ended_at_ms', 'is not', null);
  const kept = ended.orderBy('id', 'desc').limit(JOBS_KEPT_PER_SUBJECT);
  await db
    .deleteFrom('job')
    .where('kind', '=', kind)
    .where('subject', '=', subject)
    .where('ended_at_ms', 'is not', null)
    .where('id', 'not in', kept)
    .execute();
}

const ID_TIME_CHARS = 12;
const ID_RANDOM_BYTES = 10;

/** Later ones sort behind, as far as clocks agree. */
function newId(): string {
  const time = Date.now().toString(16).padStart(ID_TIME_CHARS, '0');
  return `${time}${randomBytes(ID_RANDOM_BYTES).toString('hex')}`;
}

function stateOf(text: string): JobState {
  return STATES.find((known) => known === text) ?? 'failed';
}

function jobOf(row: Row): Job {
  const { begun_at_ms, ended_at_ms } = row;
  return {
    id: row.id,
    kind: row.kind,
    subject: row.subject,
    lane: row.lane,
    payload: row.payload,
    state: stateOf(row.state),
    attempt: row.attempt,
    attemptsMax: row.attempts_max,
    stopping: row.stopping !== 0,
    progress: row.progress,
    message: row.message,
    madeMs: Number(row.made_at_ms),
    dueMs: Number(row.due_at_ms),
    ...(begun_at_ms === null ? {} : { begunMs: Number(begun_at_ms) }),
    ...(ended_at_ms === null ? {} : { endedMs: Number(ended_at_ms) }),
  };
}
