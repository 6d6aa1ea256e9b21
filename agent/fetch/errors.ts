import { CodedError } from '../../proto/std/errors.ts';

/**
 * Why a blob cannot be read on.
 *
 * - NOT_FOUND: the hub or upstream says that the blob is not there.
 * - UNAVAILABLE: nobody who may have it could be asked in time.
 * - STALLED: no byte for READER_STALL_MS.
 * - BROKEN: the one connection the bytes came from ended; another one is never spliced in.
 * - DIGEST_MISMATCH: the bytes of a source do not hash to the digest.
 * - REVOKED: what was checked against leaves of the hub turned out to be another blob.
 * - FULL: the store has no room and DIRECT_READERS_MAX readers are served past it already.
 * - BUSY: more readers or downloads than the bounds allow.
 * - OUT_OF_RANGE: the range that was asked for is not within the blob.
 * - CLOSED: the agent is stopping.
 */
export type FetchErrorCode =
  | 'NOT_FOUND'
  | 'UNAVAILABLE'
  | 'STALLED'
  | 'BROKEN'
  | 'DIGEST_MISMATCH'
  | 'REVOKED'
  | 'FULL'
  | 'BUSY'
  | 'OUT_OF_RANGE'
  | 'CLOSED';

export class FetchError extends CodedError<{ code: FetchErrorCode; digest?: string }> {
  override readonly name = 'FetchError';
}

export function fetchError(
  code: FetchErrorCode,
  message: string,
  digest?: string,
  cause?: unknown,
): FetchError {
  const data = digest === undefined ? { code } : { code, digest };
  return new FetchError(message, data, { cause });
}

export function fetchClosed(): FetchError {
  return fetchError('CLOSED', 'the agent is stopping');
}
