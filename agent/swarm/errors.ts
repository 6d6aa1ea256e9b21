import { CodedError } from '../../proto/std/errors.ts';

/**
 * Why a swarm call failed.
 *
 * - NOT_A_MEMBER: no valid membership certificate of that peer is known.
 * - BANNED: the peer is banned or its membership was revoked.
 * - UNREACHABLE: no connection, or the hello failed.
 * - CLOSED: the connection or stream ended before the answer.
 * - TIMEOUT: the peer stayed silent or stopped sending in mid-body.
 * - NO_GRANT, NOT_FOUND, BUSY: what the peer answered.
 * - REFUSED: the peer called the request invalid or failed inside.
 * - PROTOCOL: the peer broke a rule of the protocol; the connection is given up.
 * - STOPPED: the swarm is not running.
 */
export type PeerErrorCode =
  | 'NOT_A_MEMBER'
  | 'BANNED'
  | 'UNREACHABLE'
  | 'CLOSED'
  | 'TIMEOUT'
  | 'NO_GRANT'
  | 'NOT_FOUND'
  | 'BUSY'
  | 'REFUSED'
  | 'PROTOCOL'
  | 'STOPPED';

export class PeerError extends CodedError<{ code: PeerErrorCode; peerId?: string }> {
  override readonly name = 'PeerError';
}

/** The error to hand on where something of unknown type was thrown. */
export function errorOf(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
