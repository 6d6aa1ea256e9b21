import type { Logger } from '../../proto/ops/logger.ts';
import { deadline, abortable } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import {
  JOB_LOOK_MS,
  JOB_RENEW_MS,
  JOB_RETRY_BASE_MS,
  JOB_RETRY_MAX_MS,
  JOB_SWEEP_MS,
  JOB_WORKERS,
  JOBS_END_MS,
} from './constants.ts';
import { JobError } from './errors.ts';
import type { JobMetrics } from './metrics.ts';
import type { Job, JobClaim, JobOutcome, JobStore, NewJob } from './store.ts';

/** What somebody who does a job is given. */
export type JobTask = {
  job: Job;
  /** Aborts when the job is to stop, another hub has it, or this hub ends. */
  signal: AbortSignal;
  /** Saves how far it is; throws JobError JOB_GIVEN_UP when another hub has the job. */
  note: (progress: object) => Promise<void>;
};

/**
 * Does jobs of one kind: resolves with a last word, rejects with JobError JOB_HOPELESS when it
 * makes no sense to try again. A job may be begun again at any point, here or at another hub.
 */
export type JobHandler = (task: JobTask) => Promise<string>;

type Running = { kind: string; lane: string; stop: AbortController; end: Promise<void> };

type Modules = {
  store: JobStore;
  metrics: JobMetrics;
  logger: Logger;
  random?: () => number;
};

/** What one job is refused or ended by, as abort reason. */
const STOPPED = new JobError('the job was stopped', { code: 'JOB_STOPPED' });
const GIVEN_UP = new JobError('another hub has the job, or this one ends', {
  code: 'JOB_GIVEN_UP',
});

/** Does the jobs of the catalog, so many at a time, beside other hubs that do the same. */
export class JobWorkers implements AsyncDisposable {
  readonly #max: number;
  readonly #modules: Modules;
  readonly #handlers = new Map<string, { handler: JobHandler; atOnce: number }>();
  readonly #running = new Map<string, Running>();
  readonly #timers: NodeJS.Timeout[] = [];
  #looking: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor(options: { workers?: number }, modules: Modules) {
    this.#max = options.workers ?? JOB_WORKERS;
    this.#modules = modules;
  }

  /**
   * From `start` on, jobs of this kind are done so, `atOnce` at the same time: less than all, so
   * that long ones leave room for others.
   */
  handle(
    kind: string,
    handler: JobHandler,
    { atOnce = this.#max }: { atOnce?: number } = {},
  ): void {
    this.#handlers.set(kind, { handler, atOnce });
  }

  start(): void {
    this.#every(JOB_LOOK_MS, () => this.wake());
    this.#every(JOB_SWEEP_MS, () => void this.#tried('sweep', () => this.#modules.store.sweep()));
    this.wake();
  }

  /** Adds a job and looks at once whether it can begin. @throws JobError QUEUE_FULL */
  async add(job: NewJob): Promise<{ id: string; isNew: boolean }> {
    const added = await this.#modules.store.add(job);
    this.wake();
    return added;
  }

  /** See JobStore.stop; a job of this hub hears of it at once. */
  async stop(id: string): ReturnType<JobStore['stop']> {
    const verdict = await this.#modules.store.stop(id);
    if (verdict === 'stopping') this.#running.get(id)?.stop.abort(STOPPED);
    return verdict;
  }

  /** Looks for something to do. */
  wake(): void {
    if (this.#closed) return;
    this.#again = true;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
  }

  /** Lets go of all jobs, for other hubs to go on with. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#looking;
    for (const { stop } of this.#running.values()) stop.abort(GIVEN_UP);
    using limit = deadline(JOBS_END_MS);
    const ends = Promise.all([...this.#running.values()].map(({ end }) => end));
    await abortable(ends, limit.signal).catch(() => undefined);
  }

  #every(ms: number, work: () => void): void {
    const timer = setInterval(work, ms);
    timer.unref();
    this.#timers.push(timer);
  }

  async #look(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      await this.#tried('fire', () => this.#modules.store.fire());
      await this.#tried('claim', () => this.#claim());
    }
  }

  async #claim(): Promise<void> {
    while (this.#running.size < this.#max && !this.#closed) {
      const running = [...this.#running.values()];
      const busy = running.map(({ lane }) => lane);
      const kinds = [...this.#handlers]
        .filter(([kind, { atOnce }]) => running.filter((one) => one.kind === kind).length < atOnce)
        .map(([kind]) => kind);
      const claim = await this.#modules.store.claim({ kinds, busy });
      if (claim === undefined) return;
      this.#begin(claim);
    }
  }

  #begin(claim: JobClaim): void {
    const { id, kind, lane } = claim.job;
    const stop = new AbortController();
    // What ends at once must find itself in the list.
    const end = Promise.resolve().then(async () => this.#run(claim, stop));
    this.#running.set(id, { kind, lane, stop, end });
    this.#modules.metrics.running.set(this.#running.size);
    void end.finally(() => {
      this.#running.delete(id);
      this.#modules.metrics.running.set(this.#running.size);
      this.wake();
    });
  }

  /** Never rejects. */
  async #run(claim: JobClaim, stop: AbortController): Promise<void> {
    const { job } = claim;
    const { logger, metrics } = this.#modules;
    const startedMs = performance.now();
    const timer = setInterval(() => void this.#renew(claim, stop), JOB_RENEW_MS);
    let outcome: JobOutcome | undefined;
    try {
      outcome = await this.#attempt(claim, stop.signal);
    } finally {
      clearInterval(timer);
    }
    const result = outcome?.state ?? 'lost';
    metrics.ended.inc({ kind: job.kind, result });
    metrics.seconds.inc({ kind: job.kind }, (performance.now() - startedMs) / 1000);
    const fields = { job: job.id, kind: job.kind, subject: job.subject, result };
    const reason = outcome !== undefined && 'message' in outcome ? outcome.message : undefined;
    if (result === 'failed' || result === 'retry') logger.warn({ ...fields, reason }, 'job failed');
    else logger.info(fields, 'job ended');
    if (outcome === undefined) return;
    const ended = outcome;
    await this.#tried('end', () => claim.end(ended));
  }

  /** undefined: another hub has it. */
  async #attempt(claim: JobClaim, signal: AbortSignal): Promise<JobOutcome | undefined> {
    const { job } = claim;
    const note = async (progress: object): Promise<void> => {
      if (!(await claim.note(JSON.stringify(progress)))) throw GIVEN_UP;
    };
    try {
      const { handler } = this.#handlers.get(job.kind) ?? {};
      if (handler === undefined) return { state: 'given-up' };
      return { state: 'done', message: await handler({ job, signal, note }) };
    } catch (err) {
      if (hasCode(signal.reason, 'JOB_STOPPED')) return { state: 'stopped', message: '' };
      if (signal.aborted) return this.#closed ? { state: 'given-up' } : undefined;
      if (hasCode(err, 'JOB_GIVEN_UP')) return undefined;
      const message = messageOf(err);
      const last = job.attempt + 1 >= job.attemptsMax || hasCode(err, 'JOB_HOPELESS');
      return last
        ? { state: 'failed', message }
        : { state: 'retry', message, inMs: this.#pause(job) };
    }
  }

  #pause({ attempt }: Job): number {
    const { random } = this.#modules;
    const bounds = { baseMs: JOB_RETRY_BASE_MS, maxMs: JOB_RETRY_MAX_MS };
    return backoffMs(attempt, random === undefined ? bounds : { ...bounds, random });
  }

  /** Never rejects. */
  async #renew(claim: JobClaim, stop: AbortController): Promise<void> {
    // The questions before may never be answered.
    if (performance.now() >= claim.endsAtMs) stop.abort(GIVEN_UP);
    try {
      const verdict = await claim.renew();
      if (verdict === 'stop') stop.abort(STOPPED);
      if (verdict === 'lost') stop.abort(GIVEN_UP);
    } catch {
      // The database is away; another hub may begin when the lease ends.
      if (performance.now() >= claim.endsAtMs) stop.abort(GIVEN_UP);
    }
  }

  async #tried(what: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (err) {
      this.#modules.logger.warn({ what, reason: messageOf(err) }, 'jobs could not be looked after');
    }
  }
}
