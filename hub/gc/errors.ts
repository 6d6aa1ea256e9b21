import { CodedError } from '../../proto/std/errors.ts';

type GcProblem =
  | { code: 'NOT_IN_QUARANTINE'; digest: string }
  | { code: 'LEASE_LOST' }
  /** A collection goes on already, here or at another hub. */
  | { code: 'COLLECTING' }
  /** Another hub has the bytes. */
  | { code: 'COLLECTED_ELSEWHERE' }
  | { code: 'PAGE_UNKNOWN' }
  | { code: 'PURGED_LIMIT'; max: number };

/** Why something was not collected, restored or taken down. */
export class GcError extends CodedError<GcProblem> {
  override readonly name = 'GcError';
}
