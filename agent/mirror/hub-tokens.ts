import { LRUCache } from 'lru-cache';
import { verifyAccessToken, type AccessToken } from '../../proto/trust/access-token.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import { VERIFIED_TOKENS_MAX } from './constants.ts';

/** Reads the tokens that runtimes got from the hub, with the keys the hub's root certified. */
export class HubTokens {
  readonly #now: () => number;
  readonly #trust: Pick<TrustStore, 'verifyKey' | 'serial'>;
  readonly #known = new LRUCache<string, { token: AccessToken; serial: number }>({
    max: VERIFIED_TOKENS_MAX,
  });

  constructor(
    options: { now: () => number },
    modules: { trust: Pick<TrustStore, 'verifyKey' | 'serial'> },
  ) {
    this.#now = options.now;
    this.#trust = modules.trust;
  }

  /**
   * Whether this Authorization header is a token of the hub that lets its bearer read the
   * repository. False says nothing: the hub may still know better.
   */
  mayRead(authorization: string | undefined, repository: string): boolean {
    const text = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    const token = text === undefined ? undefined : this.#read(text);
    if (token === undefined || token.expiresAtMs <= this.#now()) return false;
    return token.resources.some(
      ({ type, name, actions }) =>
        type === 'repository' && name === repository && actions.includes('pull'),
    );
  }

  #read(text: string): AccessToken | undefined {
    const { serial } = this.#trust;
    const known = this.#known.get(text);
    if (known?.serial === serial) return known.token;
    try {
      const keyOf = (keyId: string) => this.#trust.verifyKey(Buffer.from(keyId, 'hex'), 'token');
      const token = verifyAccessToken(text, keyOf, { nowMs: this.#now() });
      this.#known.set(text, { token, serial });
      return token;
    } catch {
      return undefined;
    }
  }
}
