// What the queue of jobs must do, whatever the database.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Kysely } from 'kysely';
import { JOB_CLAIMS_MAX, JOB_LEASE_MS, JOBS_KEPT_PER_SUBJECT } from '../jobs/constants.ts';
import type { JobClaim, JobStore, NewJob } from '../jobs/store.ts';
import { KyselyJobStore, type JobTables } from './job-store.ts';

const HOUR_MS = 3_600_000;

type Hubs = {
  a: JobStore;
  b: JobStore;
  /** The hub a after it was started again. */
  again: () => JobStore;
  db: Kysely<JobTables>;
  t: TestContext;
};

function work(fields: Partial<NewJob> = {}): NewJob {
  return { kind: 'copy', subject: 'rule', payload: '{}', attemptsMax: 3, ...fields };
}

function take(store: JobStore, busy: string[] = []): Promise<JobClaim | undefined> {
  return store.claim({ kinds: ['copy'], busy });
}

async function taken(store: JobStore, busy: string[] = []): Promise<JobClaim> {
  const claim = await take(store, busy);
  assert.ok(claim, 'there is a job to begin');
  return claim;
}

/** As if so much time had gone by. */
async function age(db: Kysely<JobTables>, ms: number): Promise<void> {
  await db
    .updateTable('named_lease')
    .set((own) => ({ until_ms: own('until_ms', '-', ms) }))
    .execute();
  await db
    .updateTable('job')
    .set((own) => ({ due_at_ms: own('due_at_ms', '-', ms).$castTo<number>() }))
    .execute();
  await db
    .updateTable('job_schedule')
    .set((own) => ({ next_at_ms: own('next_at_ms', '-', ms).$castTo<number>() }))
    .execute();
}

const CASES: Record<string, (hubs: Hubs) => Promise<void>> = {
  'a job is begun by one hub, tells how far it is, and ends': async ({ a, b }) => {
    const { id } = await a.add(work({ payload: '{"x":1}' }));
    const claim = await taken(b);
    assert.equal(claim.job.id, id);
    assert.equal(claim.job.payload, '{"x":1}');
    assert.equal(await take(a), undefined, 'nobody else begins it');
    assert.equal(await claim.note('{"done":1}'), true);
    const running = await a.job(id);
    assert.deepEqual([running?.state, running?.progress], ['running', '{"done":1}']);
    assert.equal(await claim.renew(), 'held');
    assert.equal(await claim.end({ state: 'done', message: 'all well' }), true);
    const ended = await a.job(id);
    assert.deepEqual([ended?.state, ended?.message], ['done', 'all well']);
    assert.ok(ended?.endedMs !== undefined && ended.endedMs >= ended.madeMs);
    assert.equal(await take(a), undefined);
  },

  'of hubs that ask at once one begins a job': async ({ a, db }) => {
    await a.add(work());
    const hubs = Array.from(
      { length: 8 },
      (_, i) => new KyselyJobStore({ holder: `h${i}` }, { db }),
    );
    const claims = await Promise.all(hubs.map((hub) => take(hub)));
    assert.equal(claims.filter((claim) => claim !== undefined).length, 1);
  },

  'a hub that died is followed by another, and its late word counts for nothing': async (hubs) => {
    const { a, b, db } = hubs;
    const { id } = await a.add(work());
    const lost = await taken(a);
    await lost.note('{"half":true}');
    assert.equal(await take(b), undefined);
    await age(db, JOB_LEASE_MS);
    const next = await taken(b);
    assert.deepEqual([next.job.id, next.job.progress], [id, '{"half":true}']);
    assert.equal(next.job.attempt, 0, 'that a hub ended is no failure of the job');
    assert.equal(await lost.renew(), 'lost');
    assert.equal(await lost.note('{}'), false);
    assert.equal(await lost.end({ state: 'failed', message: 'late' }), false);
    assert.equal(await next.renew(), 'held', 'nor does it take the lease away');
    assert.equal((await a.job(id))?.state, 'running');
  },

  'a hub that starts again goes on at once with what it had': async ({ a, again, b }) => {
    const { id } = await a.add(work());
    await taken(a);
    assert.equal(await take(b), undefined);
    assert.equal((await taken(again())).job.id, id);
  },

  'a job that fails is tried again later, with what it said': async ({ a, b, db }) => {
    const { id } = await a.add(work());
    const claim = await taken(a);
    await claim.end({ state: 'retry', message: 'the line was cut', inMs: HOUR_MS });
    assert.equal(await take(b), undefined, 'not yet');
    const waiting = await a.job(id);
    assert.deepEqual([waiting?.state, waiting?.message], ['queued', 'the line was cut']);
    await age(db, HOUR_MS);
    const second = await taken(b);
    assert.equal(second.job.attempt, 1);
  },

  'what a hub gives up another begins at once': async ({ a, b }) => {
    await a.add(work());
    await (await taken(a)).end({ state: 'given-up' });
    assert.equal((await taken(b)).job.attempt, 0);
  },

  'jobs of a lane run one after the other, in order': async ({ a, b }) => {
    const first = await a.add(work({ lane: 'rule 1' }));
    const second = await a.add(work({ lane: 'rule 1' }));
    const other = await a.add(work({ lane: 'rule 2' }));
    const claim = await taken(a);
    assert.equal(claim.job.id, first.id);
    assert.equal((await taken(b)).job.id, other.id);
    assert.equal(await take(a, ['rule 1']), undefined, 'also not the hub that is at it');
    await claim.end({ state: 'done', message: '' });
    assert.equal((await taken(b, ['rule 2'])).job.id, second.id);
  },

  'a job of the same key is made once while it waits, and again once it is begun': async (hubs) => {
    const { a, b } = hubs;
    const first = await a.add(work({ key: 'tag v1' }));
    assert.deepEqual(await b.add(work({ key: 'tag v1' })), { id: first.id, isNew: false });
    await taken(a);
    const second = await b.add(work({ key: 'tag v1' }));
    assert.equal(second.isNew, true);
    const both = await Promise.all([a, b, a, b].map((hub) => hub.add(work({ key: 'tag v2' }))));
    assert.equal(both.filter(({ isNew }) => isNew).length, 1, 'also when asked for at once');
  },

  'a job that waits is stopped at once, one that runs is told': async ({ a, b }) => {
    const waiting = await a.add(work());
    assert.equal(await b.stop(waiting.id), 'stopped');
    assert.equal(await take(a), undefined);
    assert.equal(await b.stop(waiting.id), 'ended');
    assert.equal(await b.stop('no such job'), undefined);
    const { id } = await a.add(work());
    const claim = await taken(a);
    assert.equal(await b.stop(id), 'stopping');
    assert.equal(await claim.renew(), 'stop');
    await claim.end({ state: 'stopped', message: '' });
    assert.equal((await b.job(id))?.state, 'stopped');
  },

  'a job that was to stop when its hub died is not begun again': async ({ a, b, db }) => {
    const { id } = await a.add(work());
    await taken(a);
    await b.stop(id);
    await age(db, JOB_LEASE_MS);
    assert.equal(await take(b), undefined);
    assert.equal((await b.job(id))?.state, 'stopped');
  },

  'a job that ends every hub it runs at is given up': async ({ a, again }) => {
    const { id } = await a.add(work());
    for (let i = 0; i < JOB_CLAIMS_MAX; i += 1) await taken(again());
    assert.equal(await take(again()), undefined);
    const job = await a.job(id);
    assert.equal(job?.state, 'failed');
    assert.match(job.message, /without any progress/);
  },

  'old jobs of a subject are forgotten, newer ones and those of others kept': async ({ a, db }) => {
    const other = await a.add(work({ subject: 'other' }));
    await (await taken(a)).end({ state: 'done', message: '' });
    const [first] = await many(db, JOBS_KEPT_PER_SUBJECT);
    assert.ok(first !== undefined && (await a.job(first)));
    const last = await a.add(work());
    await (await taken(a)).end({ state: 'done', message: '' });
    assert.equal(await a.job(first), undefined);
    assert.ok(await a.job(other.id));
    const page = await a.jobs({ kind: 'copy', subject: 'rule', n: 2 });
    assert.equal(page[0]?.id, last.id, 'the newest first');
    const rest = await a.jobs({ subject: 'rule', n: 500, last: page[1]?.id });
    assert.equal(rest.length, JOBS_KEPT_PER_SUBJECT - 2);
  },

  'a schedule makes its job once when its time comes, however many hubs look': async (hubs) => {
    const { a, b, db } = hubs;
    const job = work({ key: 'nightly', payload: '{"rule":"x"}' });
    await a.setSchedule({ name: 'nightly', cron: '0 3 * * *', job });
    assert.equal(await a.fire(), 0);
    await age(db, 3 * 24 * HOUR_MS);
    const fired = await Promise.all([a.fire(), b.fire(), a.fire(), b.fire()]);
    assert.equal(
      fired.reduce((sum, n) => sum + n, 0),
      1,
      'times that were missed come as one',
    );
    assert.equal((await taken(a)).job.payload, '{"rule":"x"}');
    const [schedule] = await b.schedules();
    assert.ok(schedule !== undefined && schedule.nextMs > Date.now());
    const { nextMs } = schedule;
    await a.setSchedule({ name: 'nightly', cron: '0 3 * * *', job: work() });
    assert.equal((await b.schedules())[0]?.nextMs, nextMs, 'the same cron keeps its time');
    await assert.rejects(a.setSchedule({ name: 'x', cron: '0 3', job }), { code: 'CRON_INVALID' });
    await a.dropSchedule('nightly');
    assert.deepEqual(await b.schedules(), []);
  },

  'what is left behind is swept, what is worked at is not': async ({ a, db }) => {
    await a.add(work({ lane: 'gone' }));
    await (await taken(a)).end({ state: 'done', message: '' });
    await age(db, 10 * HOUR_MS);
    await a.add(work({ lane: 'held' }));
    await taken(a);
    await a.sweep();
    const leases = await db.selectFrom('named_lease').select('name').execute();
    assert.deepEqual(
      leases.map(({ name }) => name),
      ['job/held'],
    );
    assert.deepEqual(await a.counts(), [{ kind: 'copy', state: 'running', count: 1 }]);
  },
};

/** Jobs that have ended, put in at once; their ids in order. */
async function many(db: Kysely<JobTables>, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, i) => String(i).padStart(6, '0'));
  const row = {
    kind: 'copy',
    subject: 'rule',
    lane: 'x',
    waiting_key: null,
    payload: '{}',
    state: 'done',
    epoch: 1,
    claims: 0,
    attempt: 0,
    attempts_max: 1,
    stopping: 0,
    progress: '',
    message: '',
    made_at_ms: 1,
    due_at_ms: 1,
    ended_at_ms: 2,
  };
  await db
    .insertInto('job')
    .values(ids.map((id) => ({ id, ...row })))
    .execute();
  return ids;
}

/** Tests of the queue in one place; `open` gives an empty database. */
export function jobStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<Kysely<JobTables>>,
  options: { skip?: string | false } = {},
): void {
  for (const [promise, check] of Object.entries(CASES)) {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      const db = await open(t);
      const again = () => new KyselyJobStore({ holder: 'a' }, { db });
      const b = new KyselyJobStore({ holder: 'b' }, { db });
      await check({ a: again(), b, again, db, t });
    });
  }
}
