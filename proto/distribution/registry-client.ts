import { Agent, request, type Dispatcher } from 'undici';
import { digestAlgorithm, digestOf, isDigest, type Digest } from '../oci/digest.ts';
import { MANIFEST_MAX_BYTES } from '../oci/manifest.ts';
import { MANIFEST_ACCEPT, stripParameters } from '../oci/media-types.ts';
import { referenceText, type Reference, type Repository } from '../oci/name.ts';
import { parseContentRange } from '../oci/ranges.ts';
import { hasCode } from '../std/errors.ts';
import {
  BODY_IDLE_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  CONNECTIONS_MAX,
  HEADERS_TIMEOUT_MS,
  REDIRECTS_MAX,
} from './constants.ts';
import { distributionError } from './errors.ts';
import { Tokens, type Credentials } from './tokens.ts';

export type RegistryClientOptions = {
  /** `https://host[:port]`, or http where plain http is allowed. */
  baseUrl: string;
  credentials?: Credentials | undefined;
  allowPlainHttp: boolean;
  tokenHosts?: readonly string[] | undefined;
  /** PEM certificates to trust besides the system's. */
  ca?: string | undefined;
  userAgent?: string | undefined;
};
export type CallOptions = { signal?: AbortSignal | undefined; authorization?: string | undefined };
export type BlobResponse = {
  /** Bytes of the whole blob. */
  size: number;
  start: number;
  end: number;
  /** Rejects with BODY_SHORT when it ends early; its digest is unchecked. */
  body: AsyncIterable<Buffer>;
};

type Wish = CallOptions & {
  method: Dispatcher.HttpMethod;
  path: string;
  headers?: Record<string, string>;
  body?: (() => AsyncIterable<Buffer>) | Buffer | undefined;
};
type Answer = Dispatcher.ResponseData;

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;
const NEVER = new AbortController().signal;

/** Speaks the OCI distribution API to one registry. undefined stands for its 404. */
export class RegistryClient {
  readonly #base: URL;
  readonly #agent: Agent;
  readonly #tokens: Tokens;
  readonly #userAgent: string;

  /** @throws DistributionError PLAIN_HTTP_REFUSED */
  constructor(options: RegistryClientOptions) {
    this.#base = new URL(options.baseUrl);
    const plain = this.#base.protocol === 'http:';
    if (plain && !options.allowPlainHttp && !LOOPBACK.test(this.#base.hostname)) {
      const message = `${this.#base.origin} is plain http; use https or allow it explicitly`;
      throw distributionError({ code: 'PLAIN_HTTP_REFUSED' }, message);
    }
    const ca = options.ca === undefined ? {} : { ca: options.ca };
    this.#agent = new Agent({
      connections: CONNECTIONS_MAX,
      headersTimeout: HEADERS_TIMEOUT_MS,
      bodyTimeout: BODY_IDLE_TIMEOUT_MS,
      connect: { timeout: CONNECT_TIMEOUT_MS, ...ca },
    });
    this.#userAgent = options.userAgent ?? 'flotilla';
    this.#tokens = new Tokens(
      {
        registry: this.#base,
        credentials: options.credentials,
        tokenHosts: options.tokenHosts ?? [],
        allowPlainHttp: options.allowPlainHttp,
      },
      this.#agent,
    );
  }

  /** HEAD of a manifest. @throws DistributionError */
  async headManifest(
    repository: Repository,
    reference: Reference,
    o: CallOptions = {},
  ): Promise<{ digest: Digest | undefined; mediaType: string; size: number } | undefined> {
    const answer = await this.#read('HEAD', manifestPath(repository, reference), o, acceptManifest);
    if (!answer) return undefined;
    await answer.body.dump();
    const digest = headerOf(answer, 'docker-content-digest');
    return {
      digest: isDigest(digest) ? digest : undefined,
      mediaType: stripParameters(headerOf(answer, 'content-type')),
      size: Number(headerOf(answer, 'content-length')),
    };
  }

  /** GET of a manifest, at most 4 MiB, its digest checked. @throws DistributionError */
  async getManifest(
    repository: Repository,
    reference: Reference,
    o: CallOptions = {},
  ): Promise<{ bytes: Buffer; digest: Digest; mediaType: string } | undefined> {
    const answer = await this.#read('GET', manifestPath(repository, reference), o, acceptManifest);
    if (!answer) return undefined;
    const bytes = await collect(answer, MANIFEST_MAX_BYTES);
    const told = headerOf(answer, 'docker-content-digest');
    const expected = reference.kind === 'digest' ? reference.digest : told;
    const digest = digestOf(bytes, isDigest(expected) ? digestAlgorithm(expected) : 'sha256');
    if (isDigest(expected) && digest !== expected) throw mismatch(digest, expected);
    return { bytes, digest, mediaType: stripParameters(headerOf(answer, 'content-type')) };
  }

  /** @throws DistributionError */
  async headBlob(
    repository: Repository,
    digest: Digest,
    o: CallOptions = {},
  ): Promise<{ size: number } | undefined> {
    const answer = await this.#read('HEAD', `/v2/${repository}/blobs/${digest}`, o);
    if (!answer) return undefined;
    await answer.body.dump();
    return { size: Number(headerOf(answer, 'content-length')) };
  }

  /**
   * GET of `[start, end)` of a blob, all of it by default. @throws DistributionError, RANGE_IGNORED
   * when another range comes back than was asked for
   */
  async openBlob(
    repository: Repository,
    digest: Digest,
    o: CallOptions & { start?: number; end?: number } = {},
  ): Promise<BlobResponse | undefined> {
    const ranged = o.start !== undefined || o.end !== undefined;
    const start = o.start ?? 0;
    const last = o.end === undefined ? '' : String(o.end - 1);
    const headers: Record<string, string> = ranged ? { range: `bytes=${start}-${last}` } : {};
    const answer = await this.#read('GET', `/v2/${repository}/blobs/${digest}`, o, headers);
    if (!answer) return undefined;
    const length = Number(headerOf(answer, 'content-length'));
    if (answer.statusCode === 200) {
      const fits = start === 0 && (o.end === undefined || o.end === length);
      if (fits) return { size: length, start: 0, end: length, body: exact(answer, length) };
    }
    const range = parseContentRange(headerOf(answer, 'content-range'));
    const { size } = range ?? {};
    if (answer.statusCode !== 206 || !range || size === undefined || range.start !== start) {
      answer.body.destroy();
      throw distributionError({ code: 'RANGE_IGNORED' }, `not the asked range of ${digest}`);
    }
    if (range.end !== (o.end ?? size) || length !== range.end - start) {
      answer.body.destroy();
      throw distributionError({ code: 'RANGE_IGNORED' }, `not the asked range of ${digest}`);
    }
    return { size, start, end: range.end, body: exact(answer, length) };
  }

  /** A whole blob of at most `maxBytes`, its digest checked. @throws DistributionError */
  async readBlob(
    repository: Repository,
    digest: Digest,
    o: CallOptions & { maxBytes: number },
  ): Promise<Buffer | undefined> {
    const bytes = await this.getBytes(`/v2/${repository}/blobs/${digest}`, o);
    if (!bytes) return undefined;
    const actual = digestOf(bytes, digestAlgorithm(digest));
    if (actual !== digest) throw mismatch(actual, digest);
    return bytes;
  }

  /** The body of any path of the registry, at most `maxBytes`. @throws DistributionError */
  async getBytes(path: string, o: CallOptions & { maxBytes: number }): Promise<Buffer | undefined> {
    const answer = await this.#read('GET', path, o);
    return answer && collect(answer, o.maxBytes);
  }

  /** Pushes a blob unless the registry has it. @throws DistributionError */
  async pushBlob(
    repository: Repository,
    digest: Digest,
    size: number,
    source: () => AsyncIterable<Buffer>,
    o: CallOptions = {},
  ): Promise<void> {
    if (await this.headBlob(repository, digest, o)) return;
    const path = `/v2/${repository}/blobs/uploads/`;
    const started = await this.#send({ ...o, method: 'POST', path, headers: zero });
    await started.body.dump();
    expectStatus(started, 202);
    const location = new URL(headerOf(started, 'location'), this.#base);
    if (location.origin !== this.#base.origin) {
      throw distributionError({ code: 'REDIRECT_REFUSED' }, 'the upload would go to another host');
    }
    location.searchParams.set('digest', digest);
    const done = await this.#send({
      ...o,
      method: 'PUT',
      path: location.pathname + location.search,
      headers: { 'content-length': String(size), 'content-type': 'application/octet-stream' },
      body: source,
    });
    await done.body.dump();
    expectStatus(done, 201);
  }

  /** Pushes a manifest by tag or digest. @throws DistributionError */
  async pushManifest(
    repository: Repository,
    reference: Reference,
    bytes: Buffer,
    mediaType: string,
    o: CallOptions = {},
  ): Promise<void> {
    const headers = { 'content-type': mediaType };
    const path = manifestPath(repository, reference);
    const done = await this.#send({ ...o, method: 'PUT', path, headers, body: bytes });
    await done.body.dump();
    expectStatus(done, 201);
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async #read(
    method: 'GET' | 'HEAD',
    path: string,
    o: CallOptions,
    headers: Record<string, string> = {},
  ): Promise<Answer | undefined> {
    const answer = await this.#send({ ...o, method, path, headers });
    if (answer.statusCode === 200 || answer.statusCode === 206) {
      const coding = headerOf(answer, 'content-encoding');
      if (coding === '' || coding === 'identity') return answer;
      answer.body.destroy();
      throw distributionError({ code: 'ENCODED' }, `${path} came with content-encoding`);
    }
    await answer.body.dump();
    if (answer.statusCode === 404) return undefined;
    throw statusError(answer);
  }

  /** Sends a request, answering one challenge. */
  async #send(wish: Wish): Promise<Answer> {
    const reads = wish.method === 'GET' || wish.method === 'HEAD';
    const scope = `${reads ? 'r' : 'w'} ${scopeOf(wish.path)}`;
    const authorization = wish.authorization ?? this.#tokens.known(scope);
    const first = await this.#follow(wish, authorization);
    if (first.statusCode !== 401 || wish.authorization !== undefined) return first;
    await first.body.dump();
    const challenge = headerOf(first, 'www-authenticate');
    const next = await this.#tokens.answer(challenge, scope, wish.signal ?? NEVER);
    const second = await this.#follow(wish, next);
    if (second.statusCode !== 401) return second;
    await second.body.dump();
    const data = { code: 'AUTH_FAILED', status: 401, challenge } as const;
    throw distributionError(data, 'the registry refuses the credentials');
  }

  async #follow(wish: Wish, authorization: string | undefined): Promise<Answer> {
    let url = new URL(wish.path, this.#base);
    for (let hop = 0; hop <= REDIRECTS_MAX; hop += 1) {
      const own = url.origin === this.#base.origin;
      const credentials = own && authorization !== undefined ? { authorization } : {};
      const answer = await this.#once(url, wish, credentials);
      const location = headerOf(answer, 'location');
      const moved = answer.statusCode >= 300 && answer.statusCode < 400 && location !== '';
      if (!moved) return answer;
      await answer.body.dump();
      const next = new URL(location, url);
      if (next.origin !== this.#base.origin && next.protocol !== 'https:') break;
      url = next;
    }
    throw distributionError({ code: 'REDIRECT_REFUSED' }, `${wish.path} was redirected astray`);
  }

  async #once(url: URL, wish: Wish, credentials: Record<string, string>): Promise<Answer> {
    const body = typeof wish.body === 'function' ? wish.body() : wish.body;
    try {
      return await request(url, {
        dispatcher: this.#agent,
        method: wish.method,
        headers: {
          'user-agent': this.#userAgent,
          'accept-encoding': 'identity',
          ...wish.headers,
          ...credentials,
        },
        ...(body === undefined ? {} : { body: body as Buffer }),
        ...(wish.signal === undefined ? {} : { signal: wish.signal }),
      });
    } catch (err) {
      throw wish.signal?.aborted === true ? err : failureOf(err, url);
    }
  }
}

const acceptManifest = { accept: MANIFEST_ACCEPT.join(', ') };
const zero = { 'content-length': '0' };

function manifestPath(repository: Repository, reference: Reference): string {
  return `/v2/${repository}/manifests/${referenceText(reference)}`;
}

function scopeOf(path: string): string {
  return /^\/v2\/(.+?)\/(?:blobs|manifests|tags|referrers|_flotilla)\//.exec(path)?.[1] ?? '';
}

function headerOf(answer: Answer, name: string): string {
  const value = answer.headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? '';
}

async function collect(answer: Answer, maxBytes: number): Promise<Buffer> {
  const length = headerOf(answer, 'content-length');
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of length === '' ? answer.body : exact(answer, Number(length))) {
    size += part.length;
    if (size > maxBytes) {
      answer.body.destroy();
      throw distributionError({ code: 'TOO_LARGE' }, `the answer has more than ${maxBytes} bytes`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** The body, which must have exactly `length` bytes. */
async function* exact(answer: Answer, length: number): AsyncGenerator<Buffer, void, undefined> {
  let got = 0;
  try {
    for await (const part of answer.body as AsyncIterable<Buffer>) {
      got += part.length;
      if (got > length) throw distributionError({ code: 'BODY_LONG' }, 'body longer than declared');
      yield part;
    }
  } catch (err) {
    throw got < length && !hasCode(err, 'UND_ERR_ABORTED')
      ? distributionError({ code: 'BODY_SHORT' }, `body ended at byte ${got} of ${length}`, err)
      : err;
  }
  if (got < length) {
    throw distributionError({ code: 'BODY_SHORT' }, `body ended at byte ${got} of ${length}`);
  }
}

function expectStatus(answer: Answer, status: number): void {
  if (answer.statusCode !== status) throw statusError(answer);
}

function statusError(answer: Answer): Error {
  const status = answer.statusCode;
  const challenge = headerOf(answer, 'www-authenticate');
  const data = { code: 'HTTP_STATUS', status, ...(challenge === '' ? {} : { challenge }) } as const;
  return distributionError(data, `the registry answered ${status}`);
}

function mismatch(actual: string, expected: string): Error {
  const message = `expected ${expected}, the bytes have ${actual}`;
  return distributionError({ code: 'DIGEST_MISMATCH' }, message);
}

function failureOf(err: unknown, url: URL): Error {
  const slow = hasCode(err, 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT');
  const code = slow ? 'TIMEOUT' : 'UNREACHABLE';
  return distributionError({ code }, `${url.origin} cannot be asked`, err);
}
