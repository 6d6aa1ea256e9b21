import { CodedError } from '../../proto/std/errors.ts';

/** Credentials that are wrong, expired or unreadable. */
export class AccessError extends CodedError<{ code: 'BAD_CREDENTIALS' }> {}

export function badCredentials(message: string, cause?: unknown): AccessError {
  return new AccessError(message, { code: 'BAD_CREDENTIALS' }, { cause });
}
