import { randomBytes, type KeyObject } from 'node:crypto';
import { SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import {
  ACCESS_TOKEN_ALGORITHM,
  ACCESS_TOKEN_EPOCH_CLAIM,
  ACCESS_TOKEN_ISSUER,
  ACCESS_TOKEN_SERVICE,
  ACCESS_TOKEN_SHOWN_CLAIM,
  verifyAccessToken,
  type AccessToken,
} from '../../proto/trust/access-token.ts';
import { TOKEN_CACHE_MAX, TOKEN_LIFE_S } from './constants.ts';
import { badCredentials } from './errors.ts';
import type { Grant } from './scope.ts';

const TOKEN_ID_BYTES = 12;

/** A key of the hub for tokens. */
export type TokenKey = { keyId: Buffer; privateKey: KeyObject; publicKey: KeyObject };

/** The hub's own keys for tokens, which may be replaced while it runs. */
export interface TokenKeys {
  /** What new tokens are signed with. */
  current(): TokenKey;
  /**
   * A key that may have signed a token, by its id in hex: the current one or one that it replaced;
   * that one signed nothing after `retiredMs`. Undefined for an unknown or revoked one.
   */
  find(keyId: string): { publicKey: KeyObject; retiredMs?: number | undefined } | undefined;
  /**
   * What follows from bytes for who has the hub's keys, and for nobody else; the same at every hub
   * with these keys, whatever is rotated.
   */
  sealed(tag: string, bytes: Uint8Array): Buffer;
  /** Learns keys that other hubs made; absent when there are none. */
  look?: (() => Promise<void>) | undefined;
}

/** Signs and verifies the tokens of the token service (RFC 7519, RFC 8037). */
export class Tokens {
  readonly #keys: TokenKeys;
  /** Those that were verified. Whether their key is still in force is looked at each time. */
  readonly #known = new LRUCache<string, AccessToken>({ max: TOKEN_CACHE_MAX });

  constructor(modules: { keys: TokenKeys }) {
    this.#keys = modules.keys;
  }

  /** A token with these rights; `nowS` in seconds. */
  sign(claims: {
    subject: string;
    epoch: string;
    service: string;
    grants: readonly Grant[];
    nowS: number;
    /** Seconds; TOKEN_LIFE_S if left out. */
    lifeS?: number;
    /** Of a token lent to an agent: when the right was shown, seconds. */
    shownS?: number;
  }): Promise<string> {
    const { subject, epoch, service, grants, nowS, shownS, lifeS = TOKEN_LIFE_S } = claims;
    const key = this.#keys.current();
    const lent = shownS === undefined ? {} : { [ACCESS_TOKEN_SHOWN_CLAIM]: shownS };
    return new SignJWT({ access: grants, [ACCESS_TOKEN_EPOCH_CLAIM]: epoch, ...lent })
      .setProtectedHeader({
        alg: ACCESS_TOKEN_ALGORITHM,
        kid: key.keyId.toString('hex'),
        typ: 'JWT',
      })
      .setIssuer(ACCESS_TOKEN_ISSUER)
      .setAudience(service === '' ? ACCESS_TOKEN_SERVICE : service)
      .setSubject(subject)
      .setIssuedAt(nowS)
      .setNotBefore(nowS)
      .setExpirationTime(nowS + lifeS)
      .setJti(randomBytes(TOKEN_ID_BYTES).toString('hex'))
      .sign(key.privateKey);
  }

  /**
   * What a token says that the hub signed for itself, or another hub that shares its keys.
   * @throws AccessError BAD_CREDENTIALS; errors of the catalog for a key that may be new
   */
  async verify(token: string, nowMs: number): Promise<AccessToken> {
    const unknown = new Set<string>();
    const { look } = this.#keys;
    try {
      return this.#verify(token, nowMs, unknown);
    } catch (err) {
      if (look === undefined || unknown.size === 0) throw err;
      await look();
      return this.#verify(token, nowMs, unknown);
    }
  }

  /** Ids of keys that are not there are put to `unknown`. */
  #verify(token: string, nowMs: number, unknown: Set<string>): AccessToken {
    const find = (keyId: string): ReturnType<TokenKeys['find']> => {
      const key = this.#keys.find(keyId);
      if (key === undefined) unknown.add(keyId);
      return key;
    };
    try {
      const known = this.#known.get(token);
      const read = known ?? verifyAccessToken(token, (id) => find(id)?.publicKey, { nowMs });
      const key = find(read.keyId);
      const late = key?.retiredMs !== undefined && read.issuedAtMs > key.retiredMs;
      if (key === undefined || late || read.expiresAtMs <= nowMs) {
        this.#known.delete(token);
        throw badCredentials('the token has expired or its key is not in force');
      }
      if (known === undefined) this.#known.set(token, read);
      return read;
    } catch (err) {
      throw badCredentials('the token is not valid or has expired', err);
    }
  }
}
