import { CodedError } from '../../proto/std/errors.ts';

type Reason =
  | { code: 'USAGE' }
  | { code: 'UNREACHABLE' }
  | { code: 'NO_REGISTRY'; status: number }
  | { code: 'LOGIN_REFUSED' }
  | { code: 'LOGIN_MISSING' }
  | { code: 'PUSH_REFUSED'; status: number };

/** Why the suite could not be run at all. */
export class ConformanceError extends CodedError<Reason> {}
