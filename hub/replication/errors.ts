import { CodedError } from '../../proto/std/errors.ts';

export type ReplicationErrorData =
  | { code: 'INVALID' }
  | { code: 'UNKNOWN' }
  | { code: 'EXISTS' }
  | { code: 'FULL' }
  | { code: 'IN_USE' }
  /** The rule does not let this artifact be copied as it is. */
  | { code: 'REFUSED' }
  /** The artifact is not one that the rule chooses. */
  | { code: 'UNCHOSEN' }
  /** The source does not have what it names. */
  | { code: 'SOURCE_LACKS' };

/** What is wrong with a rule of replication, or with what it copies. */
export class ReplicationError extends CodedError<ReplicationErrorData> {}

export function refused(message: string): ReplicationError {
  return new ReplicationError(message, { code: 'REFUSED' });
}

export function unchosen(message: string): ReplicationError {
  return new ReplicationError(message, { code: 'UNCHOSEN' });
}

export function sourceLacks(message: string): ReplicationError {
  return new ReplicationError(message, { code: 'SOURCE_LACKS' });
}

export function invalidRule(message: string): ReplicationError {
  return new ReplicationError(message, { code: 'INVALID' });
}
