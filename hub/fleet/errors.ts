import { CodedError } from '../../proto/std/errors.ts';

/** Why the fleet API refuses, and with which status. */
export const FLEET_ERRORS = {
  /** Nobody is there to read it. */
  ABORTED: 400,
  INVALID_BODY: 400,
  INVALID_NAME: 400,
  UNSIGNED: 401,
  BAD_SIGNATURE: 401,
  CLOCK_SKEW: 401,
  NOT_A_MEMBER: 403,
  REVOKED: 403,
  TOKEN_INVALID: 403,
  TOKEN_EXPIRED: 403,
  TOKEN_USED_UP: 403,
  NOT_FOUND: 404,
  REPLAYED: 409,
  BODY_TOO_LARGE: 413,
  INTERNAL: 500,
  FLEET_FULL: 503,
  BUSY: 503,
} as const;

export type FleetCode = keyof typeof FLEET_ERRORS;

/** A refusal of the fleet API; its message is for the operator of the agent. */
export class FleetError extends CodedError<{ code: FleetCode }> {
  override readonly name = 'FleetError';

  constructor(code: FleetCode, message: string, options?: { cause?: unknown }) {
    super(message, { code }, options);
  }

  get status(): number {
    return FLEET_ERRORS[this.data.code];
  }
}

type KeysProblem =
  /** A file with a key that encrypts keys cannot be used. */
  | { code: 'KEY_FILE' }
  /** The keys in the catalog were encrypted under another key. */
  | { code: 'WRONG_KEY' }
  | { code: 'RING_DAMAGED' }
  /** The keys of the fleet are somewhere else than this hub is told to look. */
  | { code: 'KEYS_ELSEWHERE' }
  /** This hub has the keys of another fleet. */
  | { code: 'OTHER_ROOT' }
  /** Others changed the keys at the same moment, again and again. */
  | { code: 'KEYS_BUSY' };

/** Why a hub cannot use the keys of the fleet; the message says what to do. */
export class KeysError extends CodedError<KeysProblem> {
  override readonly name = 'KeysError';
}
