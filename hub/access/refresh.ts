import { randomUUID } from 'node:crypto';
import { REFRESH_GRACE_MS, REFRESH_LIFE_MS, REFRESH_PER_SUBJECT_MAX } from './constants.ts';
import { badCredentials } from './errors.ts';
import { newSecret, secretHash } from './passwords.ts';
import { parseSubject, subjectText, type Subject } from './rights.ts';
import type { AccessStore } from './store.ts';

const SECRET = /^[A-Za-z0-9_-]{43}$/;

type Place = { subject: Subject; epoch: string; service: string };

/** Refresh tokens: opaque, stored as hashes, each for one subject and one service. */
export class RefreshTokens {
  readonly #now: () => number;
  readonly #store: AccessStore;

  constructor(options: { now: () => number }, modules: { store: AccessStore }) {
    this.#now = options.now;
    this.#store = modules.store;
  }

  /** A token of a new family: somebody logged in. */
  async begin(place: Place): Promise<string> {
    const secret = newSecret();
    await this.#add(secret, place, randomUUID());
    return secret;
  }

  /**
   * Whose token this is. One that was replaced a while ago is in two hands: it ends, with all that
   * came out of the same login.
   * @throws AccessError BAD_CREDENTIALS
   */
  async find(
    secret: string,
    service: string,
  ): Promise<{ subject: Subject; epoch: string; family: string }> {
    const nowMs = this.#now();
    const row = SECRET.test(secret) ? await this.#store.refresh(secretHash(secret)) : undefined;
    const subject = row && parseSubject(row.subject);
    if (row === undefined || subject === undefined || row.expiresAtMs <= nowMs) {
      throw badCredentials('the refresh token is not valid or has expired');
    }
    if (row.service !== service) throw badCredentials('the refresh token is for another service');
    if (row.replacedAtMs !== undefined && nowMs - row.replacedAtMs > REFRESH_GRACE_MS) {
      await this.#store.deleteFamily(row.family);
      throw badCredentials('the refresh token was replaced by another');
    }
    return { subject, epoch: row.epoch, family: row.family };
  }

  /** Another token in the place of this one; undefined when one took its place already. */
  async replace(secret: string, family: string, place: Place): Promise<string | undefined> {
    const next = newSecret();
    return (await this.#add(next, place, family, secretHash(secret))) ? next : undefined;
  }

  #add(secret: string, place: Place, family: string, replaces?: string): Promise<boolean> {
    const nowMs = this.#now();
    const row = {
      hash: secretHash(secret),
      family,
      subject: subjectText(place.subject),
      service: place.service,
      epoch: place.epoch,
      expiresAtMs: nowMs + REFRESH_LIFE_MS,
      replacedAtMs: undefined,
    };
    const limits = { nowMs, max: REFRESH_PER_SUBJECT_MAX };
    return this.#store.addRefresh(row, {
      ...limits,
      ...(replaces === undefined ? {} : { replaces }),
    });
  }
}
