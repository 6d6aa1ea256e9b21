import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { KyselyJobStore, type JobTables } from '../catalog/job-store.ts';
import { openSqliteCatalog } from '../catalog/sqlite-catalog.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { JOB_LOOK_MS, JOB_RENEW_MS, JOB_WORKERS } from './constants.ts';
import { JobError } from './errors.ts';
import { createJobMetrics } from './metrics.ts';
import type { Job, JobState, JobStore, NewJob } from './store.ts';
import { JobWorkers, type JobHandler } from './workers.ts';

type Rig = {
  store: JobStore;
  registry: MetricsRegistry;
  workers: (holder: string, handler: JobHandler, other?: Pick<JobStore, 'claim'>) => JobWorkers;
};

async function rig(t: TestContext): Promise<Rig> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-jobs-'));
  const catalog = await openSqliteCatalog({ path: path.join(folder, 'catalog.sqlite') });
  const open: JobWorkers[] = [];
  t.after(async () => {
    for (const one of open) await one[Symbol.asyncDispose]();
    await catalog.close();
    await rm(folder, { recursive: true, force: true });
  });
  const db = catalog.db.withTables<JobTables>();
  const registry = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  const store = new KyselyJobStore({ holder: 'a' }, { db });
  const logger = createLogger({ level: 'silent', name: 'jobs' });
  let metrics = createJobMetrics(registry, store);
  const workers: Rig['workers'] = (holder, handler, other) => {
    const own: JobStore = new KyselyJobStore({ holder }, { db });
    if (other !== undefined) own.claim = other.claim;
    const made = new JobWorkers({}, { store: own, metrics, logger, random: () => 0 });
    metrics = createJobMetrics(new MetricsRegistry({ prefix: 'flotilla_hub_' }), store);
    made.handle('copy', handler);
    open.push(made);
    return made;
  };
  return { store, registry, workers };
}

function work(fields: Partial<NewJob> = {}): NewJob {
  return { kind: 'copy', subject: 'rule', payload: '{}', attemptsMax: 3, ...fields };
}

async function ended(store: JobStore, id: string, state: JobState): Promise<Job> {
  let job: Job | undefined;
  await until(async () => {
    job = await store.job(id);
    if (job?.state === state) return true;
    assert.equal(job?.endedMs, undefined, `${state}, not ${job?.state}: ${job?.message}`);
    return false;
  });
  assert.ok(job);
  return job;
}

/** Asks again and again, and lets others work in between. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  // oxlint-disable-next-line no-await-in-loop -- asks until it is so
  while (!(await isSo())) await setImmediate();
}

test('jobs are done when they are added, so many at a time', async (t) => {
  const { store, registry, workers } = await rig(t);
  const gate = Promise.withResolvers<void>();
  let [now, most] = [0, 0];
  const hub = workers('a', async ({ note }) => {
    now += 1;
    most = Math.max(most, now);
    await note({ begun: true });
    await gate.promise;
    now -= 1;
    return 'copied';
  });
  hub.start();
  const added = await Promise.all(Array.from({ length: JOB_WORKERS + 3 }, () => hub.add(work())));
  await until(async () => {
    const counts = await store.counts();
    return counts.some(({ state, count }) => state === 'running' && count === JOB_WORKERS);
  });
  assert.match(await registry.text(), /jobs_open\{kind="copy",state="queued"\} 3/);
  gate.resolve();
  for (const { id } of added) assert.equal((await ended(store, id, 'done')).message, 'copied');
  assert.equal(most, JOB_WORKERS);
});

test('long jobs of one kind leave room for others', async (t) => {
  const { store, workers } = await rig(t);
  const gate = Promise.withResolvers<void>();
  const hub = workers('a', async () => 'quick');
  const slow = async (): Promise<string> => {
    await gate.promise;
    return 'slow';
  };
  hub.handle('slow', slow, { atOnce: 2 });
  hub.start();
  const long = await Promise.all(
    Array.from({ length: JOB_WORKERS }, () => hub.add(work({ kind: 'slow' }))),
  );
  const { id } = await hub.add(work());
  assert.equal((await ended(store, id, 'done')).message, 'quick');
  gate.resolve();
  for (const one of long) await ended(store, one.id, 'done');
});

test('what fails is tried again and at last given up; what is hopeless is not', async (t) => {
  const { store, workers } = await rig(t);
  let tries = 0;
  const hub = workers('a', async ({ job }) => {
    tries += 1;
    if (job.payload === 'hopeless') throw new JobError('no such rule', { code: 'JOB_HOPELESS' });
    if (job.attempt === 1) return 'at the second try';
    throw new Error('cut');
  });
  hub.start();
  const twice = await hub.add(work({ subject: 'twice' }));
  assert.equal((await ended(store, twice.id, 'done')).attempt, 1);
  const never = await hub.add(work({ attemptsMax: 1 }));
  assert.equal((await ended(store, never.id, 'failed')).message, 'cut');
  tries = 0;
  const hopeless = await hub.add(work({ payload: 'hopeless', attemptsMax: 9 }));
  assert.equal((await ended(store, hopeless.id, 'failed')).message, 'no such rule');
  assert.equal(tries, 1);
});

test('a job that runs is stopped by its signal', async (t) => {
  const { store, workers } = await rig(t);
  const begun = Promise.withResolvers<void>();
  const hub = workers('a', async ({ signal }) => {
    begun.resolve();
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    return '';
  });
  hub.start();
  const { id } = await hub.add(work());
  await begun.promise;
  assert.equal(await hub.stop(id), 'stopping');
  await ended(store, id, 'stopped');
});

test('a hub that ends gives its jobs to another at once', async (t) => {
  const { store, workers } = await rig(t);
  const begun = Promise.withResolvers<void>();
  const first = workers('a', async ({ signal, note }) => {
    await note({ half: true });
    begun.resolve();
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    return '';
  });
  const second = workers('b', async ({ job }) => `went on at ${job.progress}`);
  first.start();
  const { id } = await first.add(work());
  await begun.promise;
  await first[Symbol.asyncDispose]();
  second.start();
  const job = await ended(store, id, 'done');
  assert.deepEqual([job.message, job.attempt], ['went on at {"half":true}', 0]);
});

test('a hub that was alone for a while finds what others have added', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { store, workers } = await rig(t);
  const hub = workers('b', async () => 'found');
  hub.start();
  const { id } = await store.add(work());
  t.mock.timers.tick(JOB_LOOK_MS);
  await ended(store, id, 'done');
});

test('a job whose lease has ended is let go of, though the database never answers', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { store, workers } = await rig(t);
  const begun = Promise.withResolvers<void>();
  const told = Promise.withResolvers<unknown>();
  const handler: JobHandler = async ({ signal }) => {
    signal.addEventListener('abort', () => told.resolve(signal.reason));
    begun.resolve();
    throw await told.promise;
  };
  const silent = async (wish: Parameters<JobStore['claim']>[0]) => {
    const claim = await store.claim(wish);
    return (
      claim && {
        job: claim.job,
        endsAtMs: performance.now(),
        renew: () => new Promise<never>(() => {}),
        note: async () => true,
        end: async () => true,
      }
    );
  };
  const hub = workers('a', handler, { claim: silent });
  hub.start();
  await store.add(work());
  t.mock.timers.tick(JOB_LOOK_MS);
  await begun.promise;
  t.mock.timers.tick(JOB_RENEW_MS);
  assert.equal(hasCode(await told.promise, 'JOB_GIVEN_UP'), true);
});
