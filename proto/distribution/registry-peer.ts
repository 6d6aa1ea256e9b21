import type { Digest } from '../oci/digest.ts';
import { parseRepository, referenceText, type Reference, type Repository } from '../oci/name.ts';
import { parseUploadRange } from '../oci/ranges.ts';
import { hasCode } from '../std/errors.ts';
import { parseStrictJson } from '../std/strict-json.ts';
import { collect, discard, headerOf, type Answer } from './body.ts';
import type { CallOptions } from './call.ts';
import { CATALOG_MAX_BYTES, CATALOG_PAGE } from './constants.ts';
import { distributionError } from './errors.ts';
import { nextPage } from './lists.ts';
import type { Transport } from './transport.ts';

const BYTES = 'application/octet-stream';
const NO_BODY = { 'content-length': '0' };
/** What registries answer that do not delete, or not what was named. */
const NO_DELETION = [400, 405, 501];
/** Answers that say nothing of what was asked about: to come back later. */
const PASSING = [408, 429];

/** A blob upload under way: a path of the registry, which may be another after each request. */
export type RemoteUpload = {
  location: string;
  /** Bytes that the registry has. */
  offset: number;
  /** Fewest bytes of a chunk that is not the last (distribution-spec `OCI-Chunk-Min-Length`). */
  chunkMin: number;
};

/** What it takes to keep another registry up to date, besides what RegistryClient does. */
export class RegistryPeer {
  readonly #transport: Transport;

  constructor(modules: { transport: Transport }) {
    this.#transport = modules.transport;
  }

  /** One page of the names of repositories; undefined where the registry lists none. */
  async repositories(
    next: string | undefined,
    o: CallOptions,
  ): Promise<{ repositories: Repository[]; next: string | undefined } | undefined> {
    const path = next ?? `/v2/_catalog?n=${CATALOG_PAGE}`;
    const answer = await this.#transport
      .send({ ...o, method: 'GET', path })
      .catch((err: unknown) => {
        // Some give tokens that open every list but this one.
        if (hasCode(err, 'AUTH_FAILED')) return undefined;
        throw err;
      });
    if (answer === undefined) return undefined;
    if (answer.statusCode !== 200) {
      await discard(answer);
      if ([401, 403, 404, 405].includes(answer.statusCode)) return undefined;
      throw statusError(answer);
    }
    const repositories = namesOf(await collect(answer, CATALOG_MAX_BYTES, o.signal));
    const page = new URL(path, this.#transport.base);
    return { repositories, next: nextPage(headerOf(answer, 'link'), page) };
  }

  /**
   * Begins an upload, or mounts the blob from another repository of the registry.
   * @throws DistributionError
   */
  async begin(
    repository: Repository,
    mount: { digest: Digest; from: Repository } | undefined,
    o: CallOptions,
  ): Promise<RemoteUpload | 'mounted'> {
    const query = mount ? `?mount=${mount.digest}&from=${encodeURIComponent(mount.from)}` : '';
    const path = `/v2/${repository}/blobs/uploads/${query}`;
    const answer = await this.#sent({ ...o, method: 'POST', path, headers: NO_BODY });
    if (answer.statusCode === 201 && mount !== undefined) return 'mounted';
    expectStatus(answer, 202);
    const least = headerOf(answer, 'oci-chunk-min-length');
    const chunkMin = /^\d{1,12}$/.test(least) ? Number(least) : 0;
    return { location: this.#location(answer), offset: 0, chunkMin };
  }

  /** Where an upload stands; undefined when it is gone. @throws DistributionError */
  async status(location: string, o: CallOptions): Promise<RemoteUpload | undefined> {
    const answer = await this.#sent({ ...o, method: 'GET', path: location });
    const { statusCode: status } = answer;
    if (status >= 400 && status < 500 && !PASSING.includes(status)) return undefined;
    expectStatus(answer, 204);
    // One byte and none are both told as 0-0; no upload is kept for a single byte.
    const { end = 0 } = parseUploadRange(headerOf(answer, 'range')) ?? {};
    const told = headerOf(answer, 'location');
    const at = told === '' ? location : this.#location(answer);
    return { location: at, offset: end <= 1 ? 0 : end, chunkMin: 0 };
  }

  /** Appends `[offset, offset + size)`. @throws DistributionError */
  async append(
    upload: RemoteUpload,
    size: number,
    body: () => AsyncIterable<Buffer>,
    o: CallOptions,
  ): Promise<RemoteUpload> {
    const { location, offset, chunkMin } = upload;
    const end = offset + size;
    const answer = await this.#sent({
      ...o,
      method: 'PATCH',
      path: location,
      headers: {
        'content-type': BYTES,
        'content-length': String(size),
        'content-range': `${offset}-${end - 1}`,
      },
      body,
    });
    // The distribution-spec says 202; some registries answer 204.
    if (answer.statusCode !== 204) expectStatus(answer, 202);
    return { location: this.#location(answer), offset: end, chunkMin };
  }

  /** Ends an upload with its last bytes. @throws DistributionError */
  async finish(
    { location }: Pick<RemoteUpload, 'location'>,
    digest: Digest,
    last: { size: number; body: () => AsyncIterable<Buffer> } | undefined,
    o: CallOptions,
  ): Promise<void> {
    const url = new URL(location, this.#transport.base);
    url.searchParams.set('digest', digest);
    const path = url.pathname + url.search;
    const headers = { 'content-type': BYTES, 'content-length': String(last?.size ?? 0) };
    const body = last?.body;
    const answer = await this.#sent({ ...o, method: 'PUT', path, headers, body });
    expectStatus(answer, 201);
  }

  /**
   * Pushes a manifest. `listed`: the registry says that it lists it among the referrers of its
   * subject, so that no fallback tag is needed. @throws DistributionError
   */
  async putManifest(
    repository: Repository,
    reference: Reference,
    manifest: { bytes: Buffer; mediaType: string },
    o: CallOptions,
  ): Promise<{ listed: boolean }> {
    const path = manifestPath(repository, reference);
    const { bytes: body, mediaType } = manifest;
    const headers = { 'content-type': mediaType };
    const answer = await this.#sent({ ...o, method: 'PUT', path, headers, body });
    expectStatus(answer, 201);
    return { listed: headerOf(answer, 'oci-subject') !== '' };
  }

  /** `refused`: the registry does not delete what is named so. @throws DistributionError */
  async deleteManifest(
    repository: Repository,
    reference: Reference,
    o: CallOptions,
  ): Promise<'deleted' | 'unknown' | 'refused'> {
    const path = manifestPath(repository, reference);
    const answer = await this.#sent({ ...o, method: 'DELETE', path });
    if (answer.statusCode === 404) return 'unknown';
    if (NO_DELETION.includes(answer.statusCode)) return 'refused';
    if (answer.statusCode !== 200) expectStatus(answer, 202);
    return 'deleted';
  }

  async #sent(wish: Parameters<Transport['send']>[0]): Promise<Answer> {
    const answer = await this.#transport.send(wish);
    await discard(answer);
    return answer;
  }

  /** @throws DistributionError REDIRECT_REFUSED */
  #location(answer: Answer): string {
    const { base } = this.#transport;
    const told = headerOf(answer, 'location');
    const url = told !== '' && URL.canParse(told, base.href) ? new URL(told, base) : undefined;
    if (url?.origin === base.origin) return url.pathname + url.search;
    const data = { code: 'REDIRECT_REFUSED', host: url?.host ?? '' } as const;
    throw distributionError(data, `${base.host} would have the upload go to another host`);
  }
}

function manifestPath(repository: Repository, reference: Reference): string {
  return `/v2/${repository}/manifests/${referenceText(reference)}`;
}

/** What is no name of a repository is left out. */
function namesOf(bytes: Buffer): Repository[] {
  const value: unknown = parseStrictJson(bytes);
  const list: unknown =
    typeof value === 'object' && value !== null && 'repositories' in value
      ? value.repositories
      : undefined;
  if (!Array.isArray(list)) {
    throw distributionError({ code: 'ANSWER_INVALID' }, 'the answer is no list of repositories');
  }
  return list.flatMap((name: unknown) => {
    try {
      return typeof name === 'string' ? [parseRepository(name)] : [];
    } catch {
      return [];
    }
  });
}

function expectStatus(answer: Answer, status: number): void {
  if (answer.statusCode !== status) throw statusError(answer);
}

function statusError({ statusCode: status }: Answer): Error {
  return distributionError({ code: 'HTTP_STATUS', status }, `the registry answered ${status}`);
}
