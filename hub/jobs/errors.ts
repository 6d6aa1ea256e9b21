import { CodedError } from '../../proto/std/errors.ts';

export type JobErrorData =
  | { code: 'QUEUE_FULL'; max: number }
  | { code: 'CRON_INVALID' }
  /** It makes no sense to try again. */
  | { code: 'JOB_HOPELESS' }
  | { code: 'JOB_STOPPED' }
  /** Another hub has the job, or this hub ends. */
  | { code: 'JOB_GIVEN_UP' };

/** What is wrong with a job or its schedule. */
export class JobError extends CodedError<JobErrorData> {}
