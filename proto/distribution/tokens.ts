import { LRUCache } from 'lru-cache';
import { parseStrictJson } from '../std/strict-json.ts';
import { collect, discard, type Answer } from './body.ts';
import type { CallOptions } from './call.ts';
import { parseChallenges } from './challenge.ts';
import { TOKEN_LIFE_MAX_MS, TOKEN_LIFE_MIN_MS, TOKEN_MAX_BYTES, TOKENS_MAX } from './constants.ts';
import { distributionError } from './errors.ts';
import { isListedHost } from './hosts.ts';

export type Credentials = { username: string; password: string };

export type TokenOptions = {
  registry: URL;
  credentials: Credentials | undefined;
  /** Hosts besides the registry's own that may issue tokens. */
  tokenHosts: readonly string[];
  allowPlainHttp: boolean;
};

type TokenCallOptions = Pick<CallOptions, 'signal' | 'onAnswer'>;

export type TokenModules = {
  /** Sends one GET, following nothing. */
  get: (url: URL, headers: Record<string, string>, options: TokenCallOptions) => Promise<Answer>;
};

/** Part of a token's life after which a new one is fetched, so that none ends on its way. */
const LIFE_USED = 0.9;

/** Authorization headers for one registry: Basic, or tokens of the service it names. */
export class Tokens {
  readonly #options: TokenOptions;
  readonly #modules: TokenModules;
  readonly #cache = new LRUCache<string, string>({ max: TOKENS_MAX, ttlResolution: 0 });

  constructor(options: TokenOptions, modules: TokenModules) {
    this.#options = options;
    this.#modules = modules;
  }

  known(scope: string): string | undefined {
    return this.#cache.get(scope);
  }

  /**
   * Answers a challenge. @throws DistributionError AUTH_FAILED when it asks for what we lack, sends
   * us to a host that is neither the registry nor configured, or the token service refuses;
   * HTTP_STATUS, UNREACHABLE, TIMEOUT when that service fails
   */
  async answer(header: string, scope: string, o: TokenCallOptions): Promise<string> {
    const { credentials } = this.#options;
    for (const { scheme, parameters } of parseChallenges(header)) {
      if (scheme === 'basic' && credentials) return this.#keep(scope, basic(credentials));
      const realm = parameters.get('realm');
      if (scheme !== 'bearer' || realm === undefined) continue;
      const url = this.#checkedRealm(realm, header);
      const service = parameters.get('service');
      if (service !== undefined) url.searchParams.set('service', service);
      for (const one of (parameters.get('scope') ?? '').split(' ')) {
        if (one !== '') url.searchParams.append('scope', one);
      }
      // oxlint-disable-next-line no-await-in-loop -- the first challenge that can be answered is
      const { token, lifeMs } = await this.#fetch(url, header, o);
      return this.#keep(scope, `Bearer ${token}`, lifeMs);
    }
    throw refused(header, 'the registry asks for credentials that are not configured');
  }

  #keep(scope: string, value: string, lifeMs?: number): string {
    this.#cache.set(scope, value, lifeMs === undefined ? {} : { ttl: lifeMs });
    return value;
  }

  /** CVE-2026-33540, CVE-2019-10214: credentials go where the operator said, and not in clear. */
  #checkedRealm(realm: string, header: string): URL {
    const { registry, tokenHosts, allowPlainHttp } = this.#options;
    const url = URL.canParse(realm) ? new URL(realm) : undefined;
    if (url === undefined || url.username !== '' || url.password !== '') {
      throw refused(header, 'the address of the token service cannot be used');
    }
    const safe = url.protocol === 'https:' || (url.protocol === 'http:' && allowPlainHttp);
    if (url.origin === registry.origin || (safe && isListedHost(url, tokenHosts))) return url;
    const why = `tokens would come from ${url.origin}, which is not in tokenHosts or plain http`;
    throw refused(header, why);
  }

  async #fetch(
    url: URL,
    header: string,
    o: TokenCallOptions,
  ): Promise<{ token: string; lifeMs: number }> {
    const { credentials } = this.#options;
    const headers: Record<string, string> = credentials
      ? { authorization: basic(credentials) }
      : {};
    const answer = await this.#modules.get(url, headers, o);
    const { statusCode: status } = answer;
    if (status !== 200) {
      await discard(answer);
      const message = `the token service ${url.host} answered ${status}`;
      if (status === 429 || status >= 500) {
        throw distributionError({ code: 'HTTP_STATUS', status }, message);
      }
      throw refused(header, message);
    }
    const fields = fieldsOf(await collect(answer, TOKEN_MAX_BYTES, o.signal));
    const token = fields.get('token') ?? fields.get('access_token');
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw refused(header, `the token service ${url.host} gave no token`);
    }
    return { token, lifeMs: lifeOf(fields.get('expires_in')) };
  }
}

function fieldsOf(bytes: Buffer): ReadonlyMap<string, unknown> {
  try {
    const value = parseStrictJson(bytes);
    return new Map(typeof value === 'object' && value !== null ? Object.entries(value) : []);
  } catch {
    return new Map();
  }
}

function lifeOf(seconds: unknown): number {
  const ms = typeof seconds === 'number' ? Math.floor(seconds * 1000) : 0;
  const life = Math.min(Math.max(ms, TOKEN_LIFE_MIN_MS), TOKEN_LIFE_MAX_MS);
  return Math.floor(life * LIFE_USED);
}

function basic({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function refused(challenge: string, message: string): Error {
  return distributionError({ code: 'AUTH_FAILED', status: 401, challenge }, message);
}
