import { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import { MANIFEST_ACCEPT } from '../../proto/oci/media-types.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Answer } from './answer.ts';
import { ConformanceError } from './errors.ts';
import { answerChallenge, type Credentials } from './login.ts';
import { Observer } from './observer.ts';

/** How long the registry may be silent. */
const SILENCE_MAX_MS = 60_000;
const REDIRECTS_MAX = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const NAME_IN_PATH = /^\/v2\/(.+?)\/(?:blobs|manifests|tags|referrers)\//;

export type Ask = {
  method?: Dispatcher.HttpMethod;
  headers?: Record<string, string>;
  /** Bytes, or what gives them anew each time; those are sent without a length. */
  body?: Buffer | (() => AsyncIterable<Buffer>);
};

/** Speaks to one registry: logs in when asked to, follows redirects, shows answers as they are. */
export class RegistryHttp implements AsyncDisposable {
  readonly observer = new Observer();
  readonly #origin: string;
  readonly #credentials: Credentials | undefined;
  readonly #agent: Agent;
  /** Authorization headers by what they are for. */
  readonly #known = new Map<string, string>();

  constructor(options: { url: URL; credentials: Credentials | undefined }) {
    this.#origin = options.url.origin;
    this.#credentials = options.credentials;
    const timeouts = { headersTimeout: SILENCE_MAX_MS, bodyTimeout: SILENCE_MAX_MS };
    this.#agent = new Agent(timeouts);
  }

  get host(): string {
    return new URL(this.#origin).host;
  }

  /**
   * Sends one request. A path is sent as it is written, dots and all.
   * @throws ConformanceError LOGIN_REFUSED, UNREACHABLE
   */
  async ask(target: string | URL, ask: Ask = {}): Promise<Answer> {
    const url = new URL(typeof target === 'string' ? this.#origin : target);
    const path = typeof target === 'string' ? target : `${url.pathname}${url.search}`;
    const key = keyOf(path, ask.method ?? 'GET');
    const own = url.origin === this.#origin;
    const known = own ? this.#known.get(key) : undefined;
    const answer = await this.#follow(url, path, ask, known);
    const challenge = answer.all('www-authenticate').join(', ');
    if (answer.status !== 401 || challenge === '' || !own) return answer;
    const authorization = await answerChallenge(challenge, {
      origin: this.#origin,
      credentials: this.#credentials,
      dispatcher: this.#agent,
      scopes: mountScopes(path),
    });
    if (authorization === undefined || authorization === known) return answer;
    this.#known.set(key, authorization);
    return this.#follow(url, path, ask, authorization);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  async #follow(
    url: URL,
    path: string,
    ask: Ask,
    authorization: string | undefined,
  ): Promise<Answer> {
    let answer = await this.#send(url, path, ask, authorization);
    const reads = ask.method === undefined || ask.method === 'GET' || ask.method === 'HEAD';
    for (let hop = 0; hop < REDIRECTS_MAX; hop += 1) {
      const [location] = answer.all('location');
      if (!reads || !REDIRECTS.has(answer.status) || location === undefined) break;
      const next = new URL(location, answer.url);
      const kept = next.origin === this.#origin ? authorization : undefined;
      // oxlint-disable-next-line no-await-in-loop -- one hop after the other
      answer = await this.#send(next, `${next.pathname}${next.search}`, ask, kept);
    }
    this.observer.see(answer);
    return answer;
  }

  async #send(
    url: URL,
    path: string,
    ask: Ask,
    authorization: string | undefined,
  ): Promise<Answer> {
    const { method = 'GET', body } = ask;
    const manifest = path.includes('/manifests/') && (method === 'GET' || method === 'HEAD');
    const headers = { ...(manifest ? { accept: MANIFEST_ACCEPT.join(', ') } : {}), ...ask.headers };
    try {
      const response = await this.#agent.request({
        origin: url.origin,
        path,
        method,
        headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
        ...(body === undefined ? {} : { body: bodyOf(body) }),
      });
      const bytes = Buffer.from(await response.body.arrayBuffer());
      const all = (name: string): readonly string[] => [response.headers[name] ?? []].flat();
      return { method, path, url, status: response.statusCode, all, body: bytes };
    } catch (cause) {
      const message = `${method} ${url.origin}${path}: ${messageOf(cause)}`;
      throw new ConformanceError(message, { code: 'UNREACHABLE' }, { cause });
    }
  }
}

function bodyOf(body: NonNullable<Ask['body']>): Buffer | Readable {
  return Buffer.isBuffer(body) ? body : Readable.from(body());
}

/** Rights are given for a repository; whether reading is enough, only the challenge tells. */
function keyOf(path: string, method: string): string {
  const name = NAME_IN_PATH.exec(path)?.[1] ?? '';
  const upload = path.includes('/blobs/uploads/');
  return `${method} ${upload} ${name} ${mountScopes(path).join()}`;
}

/** A mount reads from another repository, which no challenge tells. */
function mountScopes(path: string): string[] {
  const from = /[?&]from=([^&]+)/.exec(path)?.[1];
  return from === undefined ? [] : [`repository:${decodeURIComponent(from)}:pull`];
}
