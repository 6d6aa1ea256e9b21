import { CodedError } from '../../proto/std/errors.ts';

/** Why a replica refuses the call of another, and with which status. */
export const REPLICA_ERRORS = {
  /** Nobody is there to read it. */
  ABORTED: 400,
  INVALID_BODY: 400,
  /** No call of a replica of this fleet. */
  BAD_SIGNATURE: 401,
  CLOCK_SKEW: 401,
  REPLAYED: 409,
  /** Meant for another hub, or for an earlier run of this one. */
  WRONG_TARGET: 409,
  /** Of a hub, or a run of one, that is not among the replicas. */
  NO_REPLICA: 409,
  BODY_TOO_LARGE: 413,
  INTERNAL: 500,
  BUSY: 503,
} as const;

export type ReplicaCode = keyof typeof REPLICA_ERRORS;

/** A refusal of a call between replicas. */
export class ReplicaError extends CodedError<{ code: ReplicaCode }> {
  override readonly name = 'ReplicaError';

  constructor(code: ReplicaCode, message: string, options?: { cause?: unknown }) {
    super(message, { code }, options);
  }

  get status(): number {
    return REPLICA_ERRORS[this.data.code];
  }
}

/** Why another replica gave no answer. */
export type ForwardCode = 'TIMEOUT' | 'UNREACHABLE' | 'REFUSED' | 'BUSY' | 'PAUSED' | 'BAD_ANSWER';

/** An announcement could not be passed on. */
export class ForwardError extends CodedError<{ code: ForwardCode }> {
  override readonly name = 'ForwardError';

  constructor(code: ForwardCode, message: string, options?: { cause?: unknown }) {
    super(message, { code }, options);
  }
}
