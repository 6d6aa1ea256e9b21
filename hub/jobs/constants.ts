/** Jobs that wait or run at the same time, over all hubs; one more is refused. */
export const JOBS_MAX = 10_000;
/** Ended jobs that the catalog remembers of one subject. */
export const JOBS_KEPT_PER_SUBJECT = 100;
/** Ended jobs that the catalog remembers over all. */
export const JOBS_KEPT = 5_000;
/** Schedules that the catalog holds. */
export const SCHEDULES_MAX = 1_000;
/** Jobs that run at one hub at the same time. */
export const JOB_WORKERS = 8;
/** How long a hub that is silent has a job before another goes on with it. */
export const JOB_LEASE_MS = 30_000;
/** How often a hub says that it still works at a job, and asks whether it shall stop. */
export const JOB_RENEW_MS = 5_000;
/** How often a hub looks for jobs that other hubs made, and for schedules. */
export const JOB_LOOK_MS = 2_000;
/** How often old jobs are removed. */
export const JOB_SWEEP_MS = 60_000;
/** A lease that ended so long ago is forgotten. */
export const JOB_LEASE_KEPT_MS = 3_600_000;
/** Jobs that a hub looks at for one that it may begin. */
export const JOB_CANDIDATES = 16;
/** How often a job is begun without any progress before it is taken to end the hubs that run it. */
export const JOB_CLAIMS_MAX = 20;
/** Longest pause before the first retry of a job; it doubles from one to the next. */
export const JOB_RETRY_BASE_MS = 5_000;
/** Longest pause before a retry of a job. */
export const JOB_RETRY_MAX_MS = 10 * 60_000;
/** Characters of what a job needs to know, and of what it tells of its progress. */
export const JOB_TEXT_MAX_CHARS = 16_384;
/** Characters of the last words of a job. */
export const JOB_MESSAGE_MAX_CHARS = 2_000;
/** How long a hub that ends waits for its jobs to let go. */
export const JOBS_END_MS = 10_000;
/** Years in which a schedule must come once; a date on a day of the week may take as long. */
export const CRON_YEARS_MAX = 40;
