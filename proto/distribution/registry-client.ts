import { digestAlgorithm, digestOf, isDigest, type Digest } from '../oci/digest.ts';
import { DESCRIPTORS_MAX, MANIFEST_MAX_BYTES, type Descriptor } from '../oci/manifest.ts';
import { MANIFEST_ACCEPT, stripParameters } from '../oci/media-types.ts';
import { referenceText, type Reference, type Repository } from '../oci/name.ts';
import { parseContentRange } from '../oci/ranges.ts';
import { collect, cut, discard, exactBody, headerOf, lengthOf, type Answer } from './body.ts';
import type { CallOptions } from './call.ts';
import { ETAG_MAX_CHARS, REFERRER_PAGES_MAX, TAGS_MAX_BYTES } from './constants.ts';
import { distributionError } from './errors.ts';
import { fallbackTag, nextPage, referrersOf, tagsOf } from './lists.ts';
import { Transport, type TransportOptions } from './transport.ts';
import { awaySentence, UPSTREAM_AWAY_HEADER } from './upstream-away.ts';

/** What a registry says of a manifest without sending it. */
export type ManifestHead = {
  digest: Digest | undefined;
  mediaType: string;
  /** Bytes; undefined when the registry tells none. */
  size: number | undefined;
  etag: string | undefined;
  /** The registry could not ask the one behind it, and says so (RFC 9111 section 5.5, 110). */
  isStale?: true;
};

export type BlobResponse = {
  /** Bytes of the whole blob. */
  size: number;
  start: number;
  end: number;
  /**
   * Rejects with BODY_SHORT when it ends early; its digest is unchecked. One who does not read it
   * aborts the signal of the call, else the connection stays taken.
   */
  body: AsyncIterable<Buffer>;
};

const ACCEPT_MANIFEST = { accept: MANIFEST_ACCEPT.join(', ') };
/** An entity tag (RFC 9110 section 8.8.3). */
const ETAG = /^(?:W\/)?"[\x21\x23-\x7e]*"$/;
const NO_BODY = { 'content-length': '0' };

/** Speaks the OCI distribution API to one registry. undefined stands for its 404. */
export class RegistryClient {
  readonly #transport: Transport;

  /** @throws DistributionError BASE_URL_INVALID, PLAIN_HTTP_REFUSED */
  constructor(options: TransportOptions | Transport) {
    this.#transport = options instanceof Transport ? options : new Transport(options);
  }

  /** HEAD of a manifest; `size` is 0 when the registry tells none. @throws DistributionError */
  async headManifest(
    repository: Repository,
    reference: Reference,
    o: CallOptions = {},
  ): Promise<
    { digest: Digest | undefined; mediaType: string; size: number; isStale?: true } | undefined
  > {
    const { signal, authorization, onAnswer } = o;
    const own = { signal, authorization, onAnswer };
    const head = await this.askManifest(repository, reference, own);
    if (head === undefined || head === 'unchanged') return undefined;
    const { digest, mediaType, size = 0, isStale } = head;
    return { digest, mediaType, size, ...(isStale && { isStale }) };
  }

  /**
   * HEAD of a manifest, under a condition if one is given: `unchanged` when it is still the one of
   * that entity tag. @throws DistributionError
   */
  async askManifest(
    repository: Repository,
    reference: Reference,
    o: CallOptions & { ifNoneMatch?: string | undefined } = {},
  ): Promise<ManifestHead | 'unchanged' | undefined> {
    const { ifNoneMatch } = o;
    const condition = ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch };
    const also = ifNoneMatch === undefined ? undefined : 304;
    const headers = { ...ACCEPT_MANIFEST, ...condition };
    const path = manifestPath(repository, reference);
    const answer = await this.#read('HEAD', path, o, headers, also);
    if (!answer) return undefined;
    await discard(answer);
    if (answer.statusCode === 304) return 'unchanged';
    const told = headerOf(answer, 'docker-content-digest');
    const digest = isDigest(told) ? told : undefined;
    if (reference.kind === 'digest') checkTold(digest, reference.digest);
    const etag = headerOf(answer, 'etag');
    return {
      digest,
      mediaType: stripParameters(headerOf(answer, 'content-type')),
      size: lengthOf(answer),
      etag: etag.length <= ETAG_MAX_CHARS && ETAG.test(etag) ? etag : undefined,
      ...staleness(answer),
    };
  }

  /** GET of a manifest, at most 4 MiB, its digest checked. @throws DistributionError */
  async getManifest(
    repository: Repository,
    reference: Reference,
    o: CallOptions = {},
  ): Promise<{ bytes: Buffer; digest: Digest; mediaType: string; isStale?: true } | undefined> {
    const path = manifestPath(repository, reference);
    const answer = await this.#read('GET', path, o, ACCEPT_MANIFEST);
    if (!answer) return undefined;
    const bytes = await collect(answer, MANIFEST_MAX_BYTES, o.signal);
    const told = headerOf(answer, 'docker-content-digest');
    const expected = reference.kind === 'digest' ? reference.digest : told;
    const digest = digestOf(bytes, isDigest(expected) ? digestAlgorithm(expected) : 'sha256');
    if (isDigest(expected) && digest !== expected) throw mismatch(digest, expected);
    const mediaType = stripParameters(headerOf(answer, 'content-type'));
    return { bytes, digest, mediaType, ...staleness(answer) };
  }

  /** @throws DistributionError, LENGTH_UNKNOWN when the registry tells no size */
  async headBlob(
    repository: Repository,
    digest: Digest,
    o: CallOptions = {},
  ): Promise<{ size: number } | undefined> {
    const answer = await this.#read('HEAD', blobPath(repository, digest), o);
    if (!answer) return undefined;
    await discard(answer);
    const told = headerOf(answer, 'docker-content-digest');
    checkTold(isDigest(told) ? told : undefined, digest);
    return { size: lengthOf(answer) ?? unknownLength(digest) };
  }

  /**
   * GET of `[start, end)` of a blob, all of it by default. @throws DistributionError, RANGE_IGNORED
   * when another range comes back than was asked for
   */
  async openBlob(
    repository: Repository,
    digest: Digest,
    o: CallOptions & { start?: number; end?: number; headers?: Record<string, string> } = {},
  ): Promise<BlobResponse | undefined> {
    const { start = 0, end } = o;
    const ranged = o.start !== undefined || end !== undefined;
    const range = { range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
    const path = blobPath(repository, digest);
    const headers = { ...o.headers, ...(ranged ? range : {}) };
    const answer = await this.#read('GET', path, o, headers, ranged ? 206 : undefined);
    if (!answer) return undefined;
    const part = answer.statusCode === 206 ? partOf(answer) : wholeOf(answer);
    if (part?.start === start && part.end === (end ?? part.size)) {
      return { ...part, body: exactBody(answer, part.end - part.start, o.signal) };
    }
    cut(answer);
    if (part === undefined && answer.statusCode === 200) unknownLength(digest);
    throw distributionError({ code: 'RANGE_IGNORED' }, `not the asked range of ${digest}`);
  }

  /** A whole blob of at most `maxBytes`, its digest checked. @throws DistributionError */
  async readBlob(
    repository: Repository,
    digest: Digest,
    o: CallOptions & { maxBytes: number },
  ): Promise<Buffer | undefined> {
    const bytes = await this.getBytes(blobPath(repository, digest), o);
    if (!bytes) return undefined;
    const actual = digestOf(bytes, digestAlgorithm(digest));
    if (actual !== digest) throw mismatch(actual, digest);
    return bytes;
  }

  /** The body of any path of the registry, at most `maxBytes`. @throws DistributionError */
  async getBytes(path: string, o: CallOptions & { maxBytes: number }): Promise<Buffer | undefined> {
    const answer = await this.#read('GET', path, o);
    return answer && collect(answer, o.maxBytes, o.signal);
  }

  /**
   * One page of tags, and the path of the next, if there is one. @throws DistributionError
   */
  async tagPage(
    repository: Repository,
    page: { n: number; last?: string | undefined } | { next: string },
    o: CallOptions = {},
  ): Promise<{ tags: string[]; next: string | undefined } | undefined> {
    const path = 'next' in page ? page.next : tagsPath(repository, page);
    const found = await this.#page(path, TAGS_MAX_BYTES, o);
    return found && { tags: tagsOf(found.bytes), next: found.next };
  }

  /**
   * What refers to a manifest, as the registry lists it; undefined when it lists none, and the
   * fallback tag may. @throws DistributionError
   */
  async listReferrers(
    repository: Repository,
    subject: Digest,
    o: CallOptions = {},
  ): Promise<readonly Descriptor[] | undefined> {
    const all: Descriptor[] = [];
    let next: string | undefined = `/v2/${repository}/referrers/${subject}`;
    for (let pages = 0; next !== undefined && pages < REFERRER_PAGES_MAX; pages += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one page names the next
      const found = await this.#page(next, MANIFEST_MAX_BYTES, o);
      if (found === undefined && pages === 0) return undefined;
      all.push(...(found === undefined ? [] : referrersOf(found.bytes)));
      next = found?.next;
    }
    return all.slice(0, DESCRIPTORS_MAX);
  }

  /**
   * What refers to a manifest, as the registry lists it or, where it lists none, as the fallback
   * tag does. @throws DistributionError
   */
  async referrers(
    repository: Repository,
    subject: Digest,
    o: CallOptions = {},
  ): Promise<readonly Descriptor[] | undefined> {
    const listed = await this.listReferrers(repository, subject, o);
    if (listed !== undefined) return listed;
    const found = await this.getManifest(repository, fallbackTag(subject), o);
    return found && referrersOf(found.bytes);
  }

  async #page(
    path: string,
    maxBytes: number,
    o: CallOptions,
  ): Promise<{ bytes: Buffer; next: string | undefined } | undefined> {
    const answer = await this.#read('GET', path, o);
    if (!answer) return undefined;
    const bytes = await collect(answer, maxBytes, o.signal);
    const page = new URL(path, this.#transport.base);
    return { bytes, next: nextPage(headerOf(answer, 'link'), page) };
  }

  /** Pushes a blob unless the registry has it. @throws DistributionError */
  async pushBlob(
    repository: Repository,
    digest: Digest,
    size: number,
    source: () => AsyncIterable<Buffer>,
    o: CallOptions = {},
  ): Promise<void> {
    if (await this.#has(repository, digest, o)) return;
    const path = `/v2/${repository}/blobs/uploads/`;
    const started = await this.#transport.send({ ...o, method: 'POST', path, headers: NO_BODY });
    await discard(started);
    expectStatus(started, 202);
    const { base } = this.#transport;
    const told = headerOf(started, 'location');
    const location = URL.canParse(told, base.href) ? new URL(told, base) : undefined;
    if (told === '' || location?.origin !== base.origin) {
      const data = { code: 'REDIRECT_REFUSED', host: location?.host ?? '' } as const;
      throw distributionError(data, `${base.host} would have the upload go to another host`);
    }
    location.searchParams.set('digest', digest);
    const done = await this.#transport.send({
      ...o,
      method: 'PUT',
      path: location.pathname + location.search,
      headers: { 'content-length': String(size), 'content-type': 'application/octet-stream' },
      body: source,
    });
    await discard(done);
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
    const done = await this.#transport.send({ ...o, method: 'PUT', path, headers, body: bytes });
    await discard(done);
    expectStatus(done, 201);
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  async #has(repository: Repository, digest: Digest, o: CallOptions): Promise<boolean> {
    const answer = await this.#read('HEAD', blobPath(repository, digest), o);
    if (answer) await discard(answer);
    return answer !== undefined;
  }

  /** A 200, or the one `also` taken; undefined for a 404. */
  async #read(
    method: 'GET' | 'HEAD',
    path: string,
    o: CallOptions,
    headers: Record<string, string> = {},
    also?: number,
  ): Promise<Answer | undefined> {
    const { signal, authorization, onAnswer } = o;
    const own = { signal, authorization, onAnswer };
    const answer = await this.#transport.send({ ...own, method, path, headers });
    const { statusCode: status } = answer;
    if (status === 200 || status === also) {
      const coding = headerOf(answer, 'content-encoding').toLowerCase();
      if (coding === '' || coding === 'identity') return answer;
      cut(answer);
      throw distributionError({ code: 'ENCODED' }, `${path} came with a content-encoding`);
    }
    await discard(answer);
    if (status === 404) return undefined;
    throw statusError(answer);
  }
}

function manifestPath(repository: Repository, reference: Reference): string {
  return `/v2/${repository}/manifests/${referenceText(reference)}`;
}

function tagsPath(repository: Repository, page: { n: number; last?: string | undefined }): string {
  const last = page.last === undefined ? '' : `&last=${encodeURIComponent(page.last)}`;
  return `/v2/${repository}/tags/list?n=${page.n}${last}`;
}

function blobPath(repository: Repository, digest: Digest): string {
  return `/v2/${repository}/blobs/${digest}`;
}

type Part = { size: number; start: number; end: number };

function wholeOf(answer: Answer): Part | undefined {
  const size = lengthOf(answer);
  return size === undefined ? undefined : { size, start: 0, end: size };
}

/** What a 206 says it is; its declared length, if there is one, must say the same. */
function partOf(answer: Answer): Part | undefined {
  const range = parseContentRange(headerOf(answer, 'content-range'));
  if (range?.size === undefined) return undefined;
  const { start, end, size } = range;
  return (lengthOf(answer) ?? end - start) === end - start ? { start, end, size } : undefined;
}

function unknownLength(digest: Digest): never {
  throw distributionError({ code: 'LENGTH_UNKNOWN' }, `the registry tells no size of ${digest}`);
}

function staleness(answer: Answer): { isStale?: true } {
  return /^110(?: |$)/.test(headerOf(answer, 'warning')) ? { isStale: true } : {};
}

function expectStatus(answer: Answer, status: number): void {
  if (answer.statusCode !== status) throw statusError(answer);
}

function statusError(answer: Answer): Error {
  const status = answer.statusCode;
  const challenge = headerOf(answer, 'www-authenticate');
  const retryAfter = headerOf(answer, 'retry-after');
  const away = awaySentence(headerOf(answer, UPSTREAM_AWAY_HEADER));
  const data = {
    code: 'HTTP_STATUS',
    status,
    ...(challenge === '' ? {} : { challenge }),
    ...(/^\d{1,6}$/.test(retryAfter) ? { retryAfterS: Number(retryAfter) } : {}),
    ...(status === 503 && away !== undefined ? { away } : {}),
  } as const;
  return distributionError(data, `the registry answered ${status}`);
}

/** A registry may name the same content by its other algorithm, and never other content. */
function checkTold(told: Digest | undefined, asked: Digest): void {
  if (told === undefined || told === asked) return;
  if (digestAlgorithm(told) !== digestAlgorithm(asked)) return;
  const message = `asked for ${asked}, the registry answered for ${told}`;
  throw distributionError({ code: 'DIGEST_MISMATCH' }, message);
}

function mismatch(actual: string, expected: string): Error {
  const message = `expected ${expected}, the bytes have ${actual}`;
  return distributionError({ code: 'DIGEST_MISMATCH' }, message);
}
