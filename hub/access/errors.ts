import { CodedError } from '../../proto/std/errors.ts';

type AccessProblem =
  | { code: 'BAD_CREDENTIALS' }
  | { code: 'THROTTLED'; waitMs: number }
  | { code: 'BUSY' }
  | { code: 'PASSWORD_TWICE' }
  | { code: 'PASSWORD_EMPTY'; file?: string };

/** Credentials that do not hold, or a password that cannot be used. Never carries the secret. */
export class AccessError extends CodedError<AccessProblem> {
  override readonly name = 'AccessError';
}

/** The one refusal for every kind of wrong credentials. */
export function badCredentials(message: string, cause?: unknown): AccessError {
  return new AccessError(message, { code: 'BAD_CREDENTIALS' }, { cause });
}
