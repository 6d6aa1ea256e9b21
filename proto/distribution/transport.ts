import { Readable } from 'node:stream';
import { request, type Dispatcher } from 'undici';
import { deadline } from '../std/abort.ts';
import { hasCode } from '../std/errors.ts';
import { cut, discard, headerOf, type Answer } from './body.ts';
import type { CallOptions } from './call.ts';
import { CONNECT_TIMEOUT_MS, HEADERS_TIMEOUT_MS, REDIRECTS_MAX } from './constants.ts';
import { Dispatchers, type DispatcherOptions } from './dispatchers.ts';
import { distributionError } from './errors.ts';
import { isListedHost, isLoopback } from './hosts.ts';
import { Tokens, type Credentials } from './tokens.ts';

export type TransportOptions = DispatcherOptions & {
  /** `https://host[:port]`, or http where plain http is allowed. */
  baseUrl: string;
  credentials?: Credentials | undefined;
  allowPlainHttp: boolean;
  /** Hosts besides the registry that may give out its tokens: `host[:port]` or `*.suffix`. */
  tokenHosts?: readonly string[] | undefined;
  /** Hosts besides the registry that it may redirect to: `host[:port]` or `*.suffix`. */
  redirectHosts?: readonly string[] | undefined;
  /** What the operator calls that list, for the error. */
  redirectSetting?: string | undefined;
  userAgent?: string | undefined;
};
export type Wish = CallOptions & {
  method: Dispatcher.HttpMethod;
  path: string;
  headers?: Record<string, string>;
  body?: (() => AsyncIterable<Buffer>) | Buffer | undefined;
};

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const REPEATING_REDIRECTS = new Set([307, 308]);

/** Sends requests to one registry: its challenge answered, its redirects followed as configured. */
export class Transport {
  readonly #options: TransportOptions;
  readonly #base: URL;
  readonly #dispatchers: Dispatchers;
  readonly #tokens: Tokens;

  /** @throws DistributionError BASE_URL_INVALID, PLAIN_HTTP_REFUSED */
  constructor(options: TransportOptions) {
    this.#options = options;
    this.#base = checkedBase(options);
    this.#dispatchers = new Dispatchers(this.#base, options);
    const { credentials, allowPlainHttp, tokenHosts = [] } = options;
    const own = { registry: this.#base, credentials, tokenHosts, allowPlainHttp };
    this.#tokens = new Tokens(own, {
      get: (url, headers, o) => this.#once(url, { ...o, method: 'GET', path: '', headers }),
    });
  }

  get base(): URL {
    return this.#base;
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return this.#dispatchers.close();
  }

  /** Sends a request, answering one challenge. @throws DistributionError */
  async send(wish: Wish): Promise<Answer> {
    const reads = wish.method === 'GET' || wish.method === 'HEAD';
    const scope = `${reads ? 'r' : 'w'} ${scopeOf(wish.path)}`;
    const authorization = wish.authorization ?? this.#tokens.known(scope);
    const first = await this.#follow(wish, authorization);
    if (first.statusCode !== 401 || wish.authorization !== undefined) return first;
    await discard(first);
    const challenge = headerOf(first, 'www-authenticate');
    const { signal, onAnswer } = wish;
    const next = await this.#tokens.answer(challenge, scope, { signal, onAnswer });
    const second = await this.#follow(wish, next);
    if (second.statusCode !== 401) return second;
    await discard(second);
    const data = { code: 'AUTH_FAILED', status: 401, challenge } as const;
    throw distributionError(data, `${this.#base.host} refuses the credentials`);
  }

  /** The credentials stay with the registry: once a request has left it they are gone. */
  async #follow(wish: Wish, authorization: string | undefined): Promise<Answer> {
    const statuses =
      wish.method === 'GET' || wish.method === 'HEAD' ? REDIRECTS : REPEATING_REDIRECTS;
    let url = new URL(wish.path, this.#base);
    let own = true;
    for (let hop = 0; hop <= REDIRECTS_MAX; hop += 1) {
      const credentials = own && authorization !== undefined ? { authorization } : {};
      // oxlint-disable-next-line no-await-in-loop -- one hop names the next
      const answer = await this.#once(url, {
        ...wish,
        headers: { ...wish.headers, ...credentials },
      });
      const location = headerOf(answer, 'location');
      if (!statuses.has(answer.statusCode) || location === '') {
        return own ? answer : foreign(answer, url);
      }
      // oxlint-disable-next-line no-await-in-loop -- the connection is needed again
      await discard(answer);
      url = this.#checkedTarget(location, url);
      own &&= url.origin === this.#base.origin;
    }
    throw this.#refused(url, `redirects more than ${REDIRECTS_MAX} times, at last`);
  }

  #checkedTarget(location: string, from: URL): URL {
    const next = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
    const plain = next?.protocol === 'http:';
    if (!next || !(plain || next.protocol === 'https:') || next.username || next.password) {
      throw this.#refused(from, 'redirects to no address that can be used, at');
    }
    const { allowPlainHttp, redirectHosts = [], redirectSetting = 'redirectHosts' } = this.#options;
    if (plain && (from.protocol === 'https:' || !(allowPlainHttp || isLoopback(next)))) {
      throw this.#refused(next, 'redirects to plain http at');
    }
    if (next.host === this.#base.host || isListedHost(next, redirectHosts)) return next;
    const remedy = `if that is right, list the host in ${redirectSetting}`;
    throw this.#refused(next, 'redirects to', `; ${remedy}`);
  }

  #refused(url: URL, what: string, remedy = ''): Error {
    const message = `${this.#base.host} ${what} ${url.host}${remedy}`;
    return distributionError({ code: 'REDIRECT_REFUSED', host: url.host }, message);
  }

  async #once(url: URL, wish: Wish): Promise<Answer> {
    const body = typeof wish.body === 'function' ? Readable.from(wish.body()) : wish.body;
    const { userAgent = 'flotilla' } = this.#options;
    // A body takes the time it takes; undici watches over the answer to it.
    using limit = body === undefined ? deadline(this.#answerMs()) : undefined;
    const signals = [wish.signal, limit?.signal].filter((signal) => signal !== undefined);
    const dispatcher = this.#dispatchers.of(url);
    try {
      const answer = await request(url, {
        dispatcher,
        method: wish.method,
        headers: { 'user-agent': userAgent, 'accept-encoding': 'identity', ...wish.headers },
        ...(body === undefined ? {} : { body }),
        signal: AbortSignal.any(signals),
      });
      wish.onAnswer?.({
        url,
        isOwn: url.origin === this.#base.origin,
        status: answer.statusCode,
        header: (name) => headerOf(answer, name),
      });
      return answer;
    } catch (err) {
      if (wish.signal?.aborted) throw wish.signal.reason;
      if (hasCode(err, 'ADDRESS_REFUSED')) throw err;
      const slow = hasCode(err, 'TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT');
      const message = `${url.origin} ${slow ? 'does not answer' : 'cannot be asked'}`;
      throw distributionError({ code: slow ? 'TIMEOUT' : 'UNREACHABLE' }, message, err);
    }
  }

  /**
   * Time for a connection and the headers of an answer together, the wait for a free connection
   * included. undici's own limit begins again with every interim answer.
   */
  #answerMs(): number {
    const { connectMs = CONNECT_TIMEOUT_MS, headersMs = HEADERS_TIMEOUT_MS } =
      this.#options.timeouts ?? {};
    return connectMs + headersMs;
  }
}

/** Another host's challenge is not the registry's: nobody shall answer it with its credentials. */
function foreign(answer: Answer, url: URL): Answer {
  const { statusCode: status } = answer;
  if (status === 401) {
    cut(answer);
    throw distributionError({ code: 'HTTP_STATUS', status }, `${url.host} answered ${status}`);
  }
  const { 'www-authenticate': _, ...headers } = answer.headers;
  return { ...answer, headers };
}

function checkedBase({ baseUrl, allowPlainHttp }: TransportOptions): URL {
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined;
  const plain = url?.protocol === 'http:';
  const bare = url && `${url.origin}/` === url.href && url.hostname !== '';
  if (!bare || !(plain || url.protocol === 'https:')) {
    const message = 'the address of a registry is https://host[:port] and nothing more';
    throw distributionError({ code: 'BASE_URL_INVALID' }, message);
  }
  if (!plain || allowPlainHttp || isLoopback(url)) return url;
  const message = `${url.origin} is plain http; use https or allow it explicitly`;
  throw distributionError({ code: 'PLAIN_HTTP_REFUSED' }, message);
}

function scopeOf(path: string): string {
  return /^\/v2\/(.+?)\/(?:blobs|manifests|tags|referrers|_flotilla)\//.exec(path)?.[1] ?? '';
}
