import { CodedError } from '../../proto/std/errors.ts';

/**
 * Why the fleet client failed.
 *
 * - IDENTITY_UNREADABLE, STATE_UNREADABLE: a file in the data folder is damaged or not ours.
 * - PLAIN_HTTP_REFUSED, HUB_URL_INVALID, JOIN_TOKEN_INVALID: configuration.
 * - NOT_ENROLLED: the call needs a membership and there is none yet.
 * - HUB_UNREACHABLE, HUB_TIMEOUT: no answer.
 * - HUB_STATUS: an answer other than success; `status` is the HTTP status, `hubCode` the reason.
 * - HUB_ANSWER_INVALID: an answer that does not match the schema or does not verify.
 * - STOPPED: the client was closed.
 */
export type FleetErrorData =
  | { code: 'IDENTITY_UNREADABLE'; path: string }
  | { code: 'STATE_UNREADABLE'; path: string }
  | { code: 'PLAIN_HTTP_REFUSED' }
  | { code: 'HUB_URL_INVALID' }
  | { code: 'JOIN_TOKEN_INVALID' }
  | { code: 'NOT_ENROLLED' }
  | { code: 'HUB_UNREACHABLE' }
  | { code: 'HUB_TIMEOUT' }
  | { code: 'HUB_STATUS'; status: number; hubCode: string }
  | { code: 'HUB_ANSWER_INVALID' }
  | { code: 'STOPPED' };

export class FleetError extends CodedError<FleetErrorData> {
  override readonly name = 'FleetError';
}
