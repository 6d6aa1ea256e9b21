import { CodedError } from '../std/errors.ts';

export type DistributionErrorData =
  | { code: 'BASE_URL_INVALID' }
  | { code: 'UNREACHABLE' }
  | { code: 'TIMEOUT' }
  /**
   * `retryAfterS`: seconds after which the registry wants to be asked again; `away`: the sentence
   * in which a hub says that it means a registry behind it.
   */
  | { code: 'HTTP_STATUS'; status: number; challenge?: string; retryAfterS?: number; away?: string }
  | { code: 'AUTH_FAILED'; status: number; challenge: string }
  | { code: 'LENGTH_UNKNOWN' }
  | { code: 'BODY_SHORT' }
  | { code: 'BODY_LONG' }
  | { code: 'ENCODED' }
  | { code: 'DIGEST_MISMATCH' }
  | { code: 'TOO_LARGE' }
  | { code: 'RANGE_IGNORED' }
  | { code: 'REDIRECT_REFUSED'; host: string }
  | { code: 'ADDRESS_REFUSED'; host: string; address: string }
  | { code: 'ANSWER_INVALID' }
  | { code: 'PLAIN_HTTP_REFUSED' };

/** A registry that did not do what the distribution-spec says, or could not be asked. */
export class DistributionError extends CodedError<DistributionErrorData> {}

export function distributionError(
  data: DistributionErrorData,
  message: string,
  cause?: unknown,
): DistributionError {
  return new DistributionError(message, data, { cause });
}
