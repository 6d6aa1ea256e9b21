import { TrustError } from '../../proto/trust/errors.ts';
import {
  claimedSigner,
  verifyRequest,
  type SignedRequest,
} from '../../proto/trust/request-signature.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { FleetError } from './errors.ts';
import type { MemberRecord, MemberTable } from './member-table.ts';

/** A request to the hub and the value of its Authorization header. */
export type CallerRequest = SignedRequest & { authorization: string | undefined };

function refusalOf(err: TrustError): FleetError {
  switch (err.code) {
    case 'EXPIRED':
    case 'NOT_YET_VALID':
      return new FleetError('CLOCK_SKEW', err.message, { cause: err });
    case 'BAD_SIGNATURE':
      return new FleetError('BAD_SIGNATURE', err.message, { cause: err });
    default:
      return new FleetError('UNSIGNED', 'the request carries no signature of an agent', {
        cause: err,
      });
  }
}

/** Tells which agent sent a request. */
export class Callers {
  readonly #now: () => number;
  readonly #table: MemberTable;
  /** Time of the last request of each call by each member. */
  readonly #lastTimes = new Map<string, number>();

  constructor(options: { now: () => number }, modules: { table: MemberTable }) {
    this.#now = options.now;
    this.#table = modules.table;
  }

  /**
   * The key that signed the request; it need not be a member's.
   * @throws FleetError UNSIGNED, BAD_SIGNATURE, CLOCK_SKEW
   */
  signer(request: CallerRequest): { peerId: string; timeMs: number } {
    try {
      return verifyRequest(request.authorization, request, { nowMs: this.#now() });
    } catch (err) {
      throw err instanceof TrustError ? refusalOf(err) : err;
    }
  }

  /**
   * Refuses a request that names no member, before its body is read. The name is not proved yet.
   * @throws FleetError UNSIGNED, CLOCK_SKEW, NOT_A_MEMBER, REVOKED
   */
  expect(authorization: string | undefined): void {
    const nowMs = this.#now();
    try {
      this.#table.require(claimedSigner(authorization, { nowMs }).peerId, { nowMs });
    } catch (err) {
      throw err instanceof TrustError ? refusalOf(err) : err;
    }
  }

  /**
   * The member that signed the request. `graceMs`: how long ago its membership may have ended.
   * @throws FleetError UNSIGNED, BAD_SIGNATURE, CLOCK_SKEW, NOT_A_MEMBER, REVOKED
   */
  member(
    request: CallerRequest,
    options: { graceMs?: number } = {},
  ): { record: MemberRecord; timeMs: number } {
    const { peerId, timeMs } = this.signer(request);
    return { record: this.#table.require(peerId, { nowMs: this.#now(), ...options }), timeMs };
  }

  /**
   * Refuses a request that is not later than the last one of the same call by the same peer:
   * somebody sent it a second time, or two overtook each other.
   * @throws FleetError REPLAYED
   */
  inOrder(call: string, peerId: string, timeMs: number): void {
    if (timeMs <= (this.#lastTimes.get(`${call} ${peerId}`) ?? 0)) {
      throw new FleetError('REPLAYED', 'a later request of this agent came before; ask again');
    }
  }

  /** Remembers the time of a request for inOrder. Call it for members only: nobody else counts. */
  passed(call: string, peerId: string, timeMs: number): void {
    this.#lastTimes.set(`${call} ${peerId}`, timeMs);
  }

  /** Forgets the times of requests that are refused for their age by now. */
  purge(): void {
    const sinceMs = this.#now() - CLOCK_SKEW_MS;
    for (const [key, timeMs] of this.#lastTimes) {
      if (timeMs < sinceMs) this.#lastTimes.delete(key);
    }
  }
}
