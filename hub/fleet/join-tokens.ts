import { timingSafeEqual } from 'node:crypto';
import {
  formatJoinToken,
  joinSecretHash,
  newJoinToken,
  parseJoinToken,
  type JoinToken,
} from '../../proto/trust/join-token.ts';
import { JOIN_TOKENS_MAX } from './constants.ts';
import { FleetError } from './errors.ts';
import type { FleetStore } from './store.ts';

const INVALID = 'the join token is not of this hub; make a new one with the hub';

/** Invitations to the fleet. The hub keeps hashes only. */
export class JoinTokens {
  readonly #store: Pick<FleetStore, 'joinToken' | 'putJoinToken'>;
  readonly #rootFingerprint: string;

  constructor(
    options: { rootFingerprint: string },
    modules: { store: Pick<FleetStore, 'joinToken' | 'putJoinToken'> },
  ) {
    this.#rootFingerprint = options.rootFingerprint;
    this.#store = modules.store;
  }

  /**
   * Makes a token, valid for `expiresInMs` and `uses` enrolments, and returns its text: the only
   * time that it is seen.
   * @throws FleetError FLEET_FULL when JOIN_TOKENS_MAX exist already; RangeError
   */
  async create(options: { expiresInMs: number; uses: number; nowMs: number }): Promise<string> {
    const { expiresInMs, uses, nowMs } = options;
    if (!(expiresInMs > 0) || !Number.isSafeInteger(uses) || uses < 1) {
      throw new RangeError('a join token needs a life above 0 and at least one use');
    }
    const token = newJoinToken(this.#rootFingerprint);
    const row = {
      tokenId: token.tokenId,
      secretHash: joinSecretHash(token.secret),
      expiresAtMs: nowMs + expiresInMs,
      usesLeft: uses,
    };
    if (!(await this.#store.putJoinToken(row, { nowMs, max: JOIN_TOKENS_MAX }))) {
      throw new FleetError('FLEET_FULL', `${JOIN_TOKENS_MAX} join tokens exist; wait for an end`);
    }
    return formatJoinToken(token);
  }

  /**
   * The id of a token that is ours and has not expired; its uses are counted by the store.
   * @throws FleetError TOKEN_INVALID, TOKEN_EXPIRED
   */
  async check(text: string, nowMs: number): Promise<string> {
    const token = this.#parse(text);
    const row = await this.#store.joinToken(token.tokenId);
    if (row === undefined || !timingSafeEqual(row.secretHash, joinSecretHash(token.secret))) {
      throw new FleetError('TOKEN_INVALID', INVALID);
    }
    if (row.expiresAtMs <= nowMs) {
      throw new FleetError('TOKEN_EXPIRED', 'the join token has expired; make a new one');
    }
    return token.tokenId;
  }

  #parse(text: string): JoinToken {
    try {
      const token = parseJoinToken(text);
      if (token.rootFingerprint === this.#rootFingerprint) return token;
    } catch (cause) {
      throw new FleetError('TOKEN_INVALID', INVALID, { cause });
    }
    throw new FleetError('TOKEN_INVALID', INVALID);
  }
}
