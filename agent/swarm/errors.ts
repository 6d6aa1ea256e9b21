import { CodedError, hasCode } from '../../proto/std/errors.ts';
import type { SwarmStatus } from '../../proto/swarm/response.ts';

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

const FAILURES: Record<Exclude<SwarmStatus, 'ok'>, { code: PeerErrorCode; message: string }> = {
  notFound: { code: 'NOT_FOUND', message: 'The peer does not hold this chunk.' },
  noGrant: { code: 'NO_GRANT', message: 'The peer knows no grant of ours for this digest.' },
  busy: { code: 'BUSY', message: 'The peer has no upload slot free.' },
  badRequest: { code: 'REFUSED', message: 'The peer calls the request invalid.' },
  internal: { code: 'REFUSED', message: 'The peer failed to read what it holds.' },
};

/** What an answer that is not OK means. */
export function statusError(status: Exclude<SwarmStatus, 'ok'>, peerId: string): PeerError {
  const { code, message } = FAILURES[status];
  return new PeerError(message, { code, peerId });
}

/** The answer that became this error; `internal` is told as `badRequest`, its twin in code. */
export function statusOf(err: unknown): SwarmStatus | undefined {
  const statuses = ['notFound', 'noGrant', 'busy', 'badRequest'] as const;
  return statuses.find((status) => hasCode(err, FAILURES[status].code));
}
