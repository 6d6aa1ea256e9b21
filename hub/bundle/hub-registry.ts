import { Readable } from 'node:stream';
import { request, type Dispatcher } from 'undici';
import { collect, discard, exactBody, headerOf, lengthOf } from '../../proto/distribution/body.ts';
import { digestAlgorithm, digestOf, isDigest, type Digest } from '../../proto/oci/digest.ts';
import { MANIFEST_MAX_BYTES } from '../../proto/oci/manifest.ts';
import { MANIFEST_ACCEPT, stripParameters } from '../../proto/oci/media-types.ts';
import { AdminError, type AdminTarget } from '../../proto/ops/join-token-request.ts';
import { parseStrictJson } from '../../proto/std/strict-json.ts';
import { SILENCE_MS } from '../backup/constants.ts';
import { REFERRER_PAGE_MAX_BYTES, REFERRER_PAGES_MAX } from './constants.ts';
import { damaged } from './errors.ts';

type Signalled = { signal: AbortSignal };
export type Wish = Signalled & {
  method: Dispatcher.HttpMethod;
  path: string;
  headers?: Record<string, string>;
  body?: Buffer | AsyncIterable<Buffer>;
};
export type FoundManifest = { bytes: Buffer; digest: Digest; mediaType: string };

const ACCEPT = { accept: MANIFEST_ACCEPT.join(', ') };
const REFUSAL_MAX_BYTES = 65_536;

/** The registry of a running hub, with the credentials of who exports or imports. */
export class HubRegistry {
  readonly #target: AdminTarget;

  constructor(target: AdminTarget) {
    this.#target = target;
  }

  get url(): string {
    return this.#target.url;
  }

  /** An answer of any status. @throws AdminError HUB_UNREACHABLE; the reason of the signal */
  async send({ method, path, headers = {}, body, signal }: Wish): Promise<Dispatcher.ResponseData> {
    const { url, username, password, dispatcher } = this.#target;
    const basic = Buffer.from(`${username}:${password}`).toString('base64');
    try {
      return await request(new URL(path, url), {
        method,
        headers: { 'accept-encoding': 'identity', ...headers, authorization: `Basic ${basic}` },
        bodyTimeout: SILENCE_MS,
        signal,
        ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? body : Readable.from(body) }),
        ...(dispatcher === undefined ? {} : { dispatcher }),
      });
    } catch (cause) {
      signal.throwIfAborted();
      const message = `no answer from the hub at ${url}; see that it runs and is trusted here`;
      throw new AdminError(message, { code: 'HUB_UNREACHABLE', url }, { cause });
    }
  }

  /** What the hub says instead of doing it. */
  async refusal(answer: Dispatcher.ResponseData): Promise<AdminError> {
    const { statusCode: status } = answer;
    const text = await collect(answer, REFUSAL_MAX_BYTES).catch(() => Buffer.alloc(0));
    const reason = reasonOf(text);
    const message =
      reason === undefined ? `the hub answered ${status}` : `the hub refused: ${reason}`;
    return new AdminError(message, { code: 'HUB_REFUSED', url: this.url, status });
  }

  /** A manifest, its digest checked; undefined when there is none. */
  async manifest(
    repository: string,
    reference: string,
    { signal }: Signalled,
  ): Promise<FoundManifest | undefined> {
    const path = `/v2/${repository}/manifests/${reference}`;
    const answer = await this.#read('GET', path, { headers: ACCEPT, signal });
    if (answer === undefined) return undefined;
    const told = headerOf(answer, 'docker-content-digest');
    const expected = isDigest(reference) ? reference : told;
    const bytes = await this.#whole(answer, MANIFEST_MAX_BYTES, signal);
    const digest = digestOf(bytes, isDigest(expected) ? digestAlgorithm(expected) : 'sha256');
    if (isDigest(expected) && digest !== expected) {
      throw damaged(`the hub sent ${digest} for ${expected}`);
    }
    return { bytes, digest, mediaType: stripParameters(headerOf(answer, 'content-type')) };
  }

  /** Digests of the manifests whose subject is this one. */
  async referrers(repository: string, digest: Digest, { signal }: Signalled): Promise<Digest[]> {
    const found: Digest[] = [];
    let path: string | undefined = `/v2/${repository}/referrers/${digest}`;
    for (let page = 0; path !== undefined && page < REFERRER_PAGES_MAX; page += 1) {
      // oxlint-disable-next-line no-await-in-loop -- a page names the next one
      const answer: Dispatcher.ResponseData | undefined = await this.#read('GET', path, { signal });
      if (answer === undefined) break;
      // oxlint-disable-next-line no-await-in-loop -- a page names the next one
      found.push(...digestsOf(await this.#whole(answer, REFERRER_PAGE_MAX_BYTES, signal)));
      path = /^<(\/v2\/[^>]+)>; *rel="?next"?$/.exec(headerOf(answer, 'link'))?.[1];
    }
    return found;
  }

  /** Whether the repository has the tag, the manifest or the blob. */
  async has(repository: string, what: string, { signal }: Signalled): Promise<boolean> {
    const path = `/v2/${repository}/${what}`;
    const answer = await this.#read('HEAD', path, { headers: ACCEPT, signal });
    if (answer !== undefined) await discard(answer);
    return answer !== undefined;
  }

  /** Bytes of a blob from `start` on; undefined when the repository has it not. */
  async blob(
    repository: string,
    digest: Digest,
    { start, size, signal }: Signalled & { start: number; size: number },
  ): Promise<AsyncIterable<Buffer> | undefined> {
    const path = `/v2/${repository}/blobs/${digest}`;
    const headers: Record<string, string> = start > 0 ? { range: `bytes=${start}-` } : {};
    const answer = await this.#read('GET', path, { headers, signal });
    if (answer === undefined) return undefined;
    if (answer.statusCode === (start > 0 ? 206 : 200) && lengthOf(answer) === size - start) {
      return toldBy(exactBody(answer, size - start, signal), { url: this.url, signal });
    }
    await discard(answer);
    throw damaged(`${digest} has not the size that its manifest says`);
  }

  /** A good answer; undefined for a 404. */
  async #read(
    method: 'GET' | 'HEAD',
    path: string,
    { headers = {}, signal }: Signalled & { headers?: Record<string, string> },
  ): Promise<Dispatcher.ResponseData | undefined> {
    const answer = await this.send({ method, path, headers, signal });
    const { statusCode: status } = answer;
    if (status === 200 || status === 206) return answer;
    if (status !== 404) throw await this.refusal(answer);
    await discard(answer);
    return undefined;
  }

  async #whole(answer: Dispatcher.ResponseData, max: number, signal: AbortSignal): Promise<Buffer> {
    try {
      return await collect(answer, max, signal);
    } catch (cause) {
      throw brokeOff(cause, { url: this.url, signal });
    }
  }
}

async function* toldBy(
  body: AsyncIterable<Buffer>,
  where: { url: string; signal: AbortSignal },
): AsyncGenerator<Buffer> {
  try {
    yield* body;
  } catch (cause) {
    throw brokeOff(cause, where);
  }
}

function brokeOff(cause: unknown, { url, signal }: { url: string; signal: AbortSignal }): Error {
  signal.throwIfAborted();
  const message = `the hub at ${url} broke off`;
  return new AdminError(message, { code: 'HUB_UNREACHABLE', url }, { cause });
}

function digestsOf(page: Buffer): Digest[] {
  const value = parseStrictJson(page);
  const manifests: unknown = isObject(value) ? value['manifests'] : undefined;
  const list: readonly unknown[] = Array.isArray(manifests) ? manifests : [];
  return list.flatMap((entry) => {
    const digest = isObject(entry) ? entry['digest'] : undefined;
    return typeof digest === 'string' && isDigest(digest) ? [digest] : [];
  });
}

function reasonOf(text: Buffer): string | undefined {
  try {
    const value: { errors?: { message?: unknown }[] } = JSON.parse(text.toString('utf8'));
    const message = value.errors?.[0]?.message;
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
