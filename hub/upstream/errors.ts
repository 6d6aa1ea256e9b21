import { CodedError } from '../../proto/std/errors.ts';

/** `upstream` is its host as in image names; times are of `Date.now()`. */
export type UpstreamErrorData =
  /** No request may be made now; `retryAtMs`: when the next one may. */
  | { code: 'RATE_LIMITED'; upstream: string; retryAtMs: number }
  /** It cannot be asked, or fails; `retryAtMs`: when it is asked again, if that is known. */
  | { code: 'UNAVAILABLE'; upstream: string; retryAtMs?: number }
  /** It refuses all configured accounts, or who has none. */
  | { code: 'REFUSED'; upstream: string; status: number }
  /** The configuration does not allow this repository. */
  | { code: 'NOT_ALLOWED'; upstream: string };

/** Why a configured registry gave no answer that can be used. */
export class UpstreamError extends CodedError<UpstreamErrorData> {}

export function upstreamError(
  data: UpstreamErrorData,
  message: string,
  cause?: unknown,
): UpstreamError {
  return new UpstreamError(message, data, { cause });
}
