import { CodedError } from '../../proto/std/errors.ts';

/** What no second try changes. */
type PrefetchProblem =
  | { code: 'NO_ROOM'; bytes: number }
  | { code: 'NO_PLATFORM' }
  | { code: 'NOT_THERE'; digest: string }
  | { code: 'NO_IMAGE'; digest: string };

/** Why content is not brought here; the message goes to who ordered it. */
export class PrefetchError extends CodedError<PrefetchProblem> {
  override readonly name = 'PrefetchError';
}
