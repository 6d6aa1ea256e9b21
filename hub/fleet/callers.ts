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
  readonly #look: (() => Promise<void>) | undefined;
  /** Time of the last request of each call by each member. */
  readonly #lastTimes = new Map<string, number>();

  /** `look`: lets the table know what other hubs changed; absent when there are none. */
  constructor(
    options: { now: () => number },
    modules: { table: MemberTable; look?: (() => Promise<void>) | undefined },
  ) {
    this.#now = options.now;
    this.#table = modules.table;
    this.#look = modules.look;
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
  async expect(authorization: string | undefined): Promise<void> {
    await this.#require(this.#claimed(authorization));
  }

  /**
   * The member that signed the request. `graceMs`: how long ago its membership may have ended.
   * @throws FleetError UNSIGNED, BAD_SIGNATURE, CLOCK_SKEW, NOT_A_MEMBER, REVOKED
   */
  async member(
    request: CallerRequest,
    options: { graceMs?: number } = {},
  ): Promise<{ record: MemberRecord; timeMs: number }> {
    const { peerId, timeMs } = this.signer(request);
    return { record: await this.#require(peerId, options), timeMs };
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

  #claimed(authorization: string | undefined): string {
    try {
      return claimedSigner(authorization, { nowMs: this.#now() }).peerId;
    } catch (err) {
      throw err instanceof TrustError ? refusalOf(err) : err;
    }
  }

  /** Another hub may have let it in a moment ago. */
  async #require(peerId: string, options: { graceMs?: number } = {}): Promise<MemberRecord> {
    const find = () => this.#table.require(peerId, { nowMs: this.#now(), ...options });
    try {
      return find();
    } catch (err) {
      if (this.#look === undefined) throw err;
      await this.#look();
      return find();
    }
  }
}
