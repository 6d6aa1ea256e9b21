import { CodedError } from '../std/errors.ts';

/** Why a signed object is not believed. */
export type TrustCode =
  | 'MALFORMED'
  | 'BAD_SIGNATURE'
  | 'UNKNOWN_KEY'
  | 'REVOKED_KEY'
  | 'WRONG_PURPOSE'
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'WRONG_FLEET'
  | 'WRONG_AUDIENCE'
  | 'HASHES_MISMATCH'
  | 'ROLLED_BACK'
  | 'TOO_LARGE';

/** Thrown by everything that verifies or decodes a signed object. */
export class TrustError extends CodedError<{ code: TrustCode }> {
  override readonly name = 'TrustError';
}
