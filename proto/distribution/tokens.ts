import { LRUCache } from 'lru-cache';
import { request, type Dispatcher } from 'undici';
import { parseChallenges } from './challenge.ts';
import { HEADERS_TIMEOUT_MS, TOKEN_MAX_BYTES, TOKENS_MAX } from './constants.ts';
import { distributionError } from './errors.ts';

export type Credentials = { username: string; password: string };

export type TokenOptions = {
  registry: URL;
  credentials: Credentials | undefined;
  /** Hosts besides the registry's own that may issue tokens. */
  tokenHosts: readonly string[];
  allowPlainHttp: boolean;
};

const TOKEN_LIFE_SECONDS = 60;

/** Authorization headers for one registry: Basic, or tokens of the service it names. */
export class Tokens {
  readonly #options: TokenOptions;
  readonly #dispatcher: Dispatcher;
  readonly #cache = new LRUCache<string, string>({ max: TOKENS_MAX });

  constructor(options: TokenOptions, dispatcher: Dispatcher) {
    this.#options = options;
    this.#dispatcher = dispatcher;
  }

  known(scope: string): string | undefined {
    return this.#cache.get(scope);
  }

  /**
   * Answers a challenge. @throws DistributionError AUTH_FAILED when it asks for what we lack, or
   * sends us to a host that is neither the registry nor configured
   */
  async answer(header: string, scope: string, signal: AbortSignal): Promise<string> {
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
      const { token, seconds } = await this.#fetch(url, header, signal);
      return this.#keep(scope, `Bearer ${token}`, seconds);
    }
    throw refused(header, 'the registry asks for credentials that are not configured');
  }

  #keep(scope: string, value: string, seconds?: number): string {
    this.#cache.set(scope, value, seconds === undefined ? {} : { ttl: seconds * 900 });
    return value;
  }

  #checkedRealm(realm: string, header: string): URL {
    const { registry, tokenHosts, allowPlainHttp } = this.#options;
    const url = URL.canParse(realm) ? new URL(realm) : undefined;
    const own = url?.host === registry.host && url.protocol === registry.protocol;
    const named = url !== undefined && tokenHosts.includes(url.host);
    const safe = url?.protocol === 'https:' || (url?.protocol === 'http:' && allowPlainHttp);
    if (url && (own || (named && safe))) return url;
    throw refused(header, 'the token service is on a host that is not configured');
  }

  async #fetch(
    url: URL,
    header: string,
    signal: AbortSignal,
  ): Promise<{ token: string; seconds: number }> {
    const { credentials } = this.#options;
    const headers = credentials ? { authorization: basic(credentials) } : {};
    const timeout = { headersTimeout: HEADERS_TIMEOUT_MS, bodyTimeout: HEADERS_TIMEOUT_MS };
    const { statusCode, body } = await request(url, {
      dispatcher: this.#dispatcher,
      headers,
      signal,
      ...timeout,
    });
    let text = '';
    for await (const part of body) {
      text += String(part);
      if (text.length > TOKEN_MAX_BYTES) throw refused(header, 'the token answer is too large');
    }
    const answer = statusCode === 200 ? fieldsOf(text) : {};
    const token = answer['token'] ?? answer['access_token'];
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw refused(header, `the token service answered ${statusCode}`);
    }
    const seconds = Number(answer['expires_in'] ?? TOKEN_LIFE_SECONDS);
    return { token, seconds: seconds > 0 ? seconds : TOKEN_LIFE_SECONDS };
  }
}

function fieldsOf(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function basic({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function refused(challenge: string, message: string): Error {
  return distributionError({ code: 'AUTH_FAILED', status: 401, challenge }, message);
}
