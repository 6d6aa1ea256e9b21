/** `queued` also between two attempts. */
export type JobState = 'queued' | 'running' | 'done' | 'failed' | 'stopped';

export type NewJob = {
  /** Who does it. */
  kind: string;
  /** What it is about; history is kept by kind and subject. */
  subject: string;
  /** Jobs of one lane run one after the other; undefined: beside all others. */
  lane?: string | undefined;
  /** While a job of this key waits to be begun no second one is made. */
  key?: string | undefined;
  /** JSON. */
  payload: string;
  attemptsMax: number;
};

export type Job = {
  id: string;
  kind: string;
  subject: string;
  lane: string;
  payload: string;
  state: JobState;
  /** How often it failed so far. */
  attempt: number;
  attemptsMax: number;
  /** Someone asked that it stops. */
  stopping: boolean;
  /** JSON, as its worker told it last; empty at first. */
  progress: string;
  /** Why it failed, at last or for now. */
  message: string;
  /** Ms since 1970 by the clock of the database, as all times here. */
  madeMs: number;
  dueMs: number;
  begunMs?: number;
  endedMs?: number;
};

/** The right of one hub to work at a job. */
export interface JobClaim {
  readonly job: Job;
  /**
   * Keeps it; `stop` when someone asked that it stops, `lost` when another hub may have it now.
   * Rejects while the catalog is away.
   */
  renew(): Promise<'held' | 'stop' | 'lost'>;
  /** On the clock of `performance.now()`. */
  readonly endsAtMs: number;
  /** Saves how far it is; false when it was lost. */
  note(progress: string): Promise<boolean>;
  /** Ends it, or lets it wait for the next attempt; false when it was lost. */
  end(outcome: JobOutcome): Promise<boolean>;
}

export type JobOutcome =
  | { state: 'done' | 'failed' | 'stopped'; message: string }
  /** It failed and is tried again. */
  | { state: 'retry'; message: string; inMs: number }
  /** Nothing happened to it: another hub goes on at once. */
  | { state: 'given-up' };

export type JobPage = {
  kind?: string | undefined;
  subject?: string | undefined;
  n: number;
  /** The id of the last one of the page before. */
  last?: string | undefined;
};

export type Schedule = { name: string; cron: string; job: NewJob };

/** Jobs and schedules, shared by all hubs of a catalog. */
export interface JobStore {
  /**
   * The id of the new job, or of the one of the same key that waits.
   * @throws JobError QUEUE_FULL
   */
  add(job: NewJob): Promise<{ id: string; isNew: boolean }>;
  /** A job that is due, of a lane that nobody works at; `busy`: lanes that are worked at here. */
  claim(wish: { kinds: readonly string[]; busy: readonly string[] }): Promise<JobClaim | undefined>;
  /** `stopping`: its worker is told. undefined: there is no such job. */
  stop(id: string): Promise<'stopped' | 'stopping' | 'ended' | undefined>;
  job(id: string): Promise<Job | undefined>;
  /** The newest first. */
  jobs(page: JobPage): Promise<Job[]>;
  /** Jobs that have not ended, by kind and state. */
  counts(): Promise<{ kind: string; state: JobState; count: number }[]>;
  /**
   * Makes or changes a schedule. It keeps its time unless its cron is another.
   * @throws JobError CRON_INVALID; QUEUE_FULL for more than SCHEDULES_MAX
   */
  setSchedule(schedule: Schedule): Promise<void>;
  dropSchedule(name: string): Promise<void>;
  schedules(): Promise<(Schedule & { nextMs: number })[]>;
  /** Makes the jobs of all schedules whose time has come, once each; how many. */
  fire(): Promise<number>;
  /** Removes what is kept no longer. */
  sweep(): Promise<void>;
}
