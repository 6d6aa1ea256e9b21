import type { IncomingMessage, ServerResponse } from 'node:http';
import { isDigest } from '../../proto/oci/digest.ts';
import { OCI_INDEX } from '../../proto/oci/media-types.ts';
import { blobOf } from './content.ts';
import type { Faults } from './faults.ts';
import { addressIdentity, type PullCounts, type PullLimit, type Standing } from './pull-counts.ts';
import type { Entry } from './request-log.ts';
import { sendContent, sendStatus } from './send.ts';
import type { Shelf } from './shelf.ts';
import type { Account, Caller, TokenService } from './token-service.ts';

const API_VERSION = { 'docker-distribution-api-version': 'registry/2.0' };
const TAGS_MAX = 100;
const ROUTE = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/;

export type EdgeOptions = {
  /** Where tokens are; read at each challenge. */
  realm: () => string;
  service: string;
  /** Where the CDN is. */
  cdnUrl: () => string;
  accounts: ReadonlyMap<string, Account>;
  /** Of an address without an account; undefined: none. */
  anonymousLimit: () => PullLimit | undefined;
};

type Modules = {
  shelf: Shelf;
  faults: Faults;
  counts: PullCounts;
  tokens: TokenService;
  signedPath: (digest: NonNullable<Entry['digest']>) => string;
};

/** The host that answers `/v2/`. */
export class RegistryEdge {
  readonly #options: EdgeOptions;
  readonly #modules: Modules;

  constructor(options: EdgeOptions, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
  }

  async answer(request: IncomingMessage, response: ServerResponse, entry: Entry): Promise<void> {
    const url = new URL(entry.path, 'http://registry');
    const caller = this.#modules.tokens.callerOf(request.headers.authorization);
    const [, name = '', kind = '', last = ''] = ROUTE.exec(url.pathname) ?? [];
    if (url.pathname === '/v2/' || name === '') {
      entry.kind = url.pathname === '/v2/' ? 'base' : 'other';
      if (caller === undefined) this.#challenge(response, entry, '', caller);
      else sendStatus(response, entry, entry.kind === 'base' ? 200 : 404, { headers: API_VERSION });
      return;
    }
    if (caller?.repositories.has(name) !== true) {
      this.#challenge(response, entry, name, caller);
      return;
    }
    const asked = { request, response, entry, caller, name, last, url };
    if (kind === 'manifests') await this.#manifest(asked);
    else if (kind === 'blobs') await this.#blob(asked);
    else if (kind === 'tags') this.#tags(asked);
    else this.#referrers(asked);
  }

  /** A repository that is not there looks like one that the caller may not see. */
  #challenge(
    response: ServerResponse,
    entry: Entry,
    name: string,
    caller: Caller | undefined,
  ): void {
    const { realm, service } = this.#options;
    const scope = name === '' ? '' : `,scope="repository:${name}:pull"`;
    const error = caller === undefined ? 'invalid_token' : 'insufficient_scope';
    const why = entry.authorized ? `,error="${error}"` : '';
    const challenge = `Bearer realm="${realm()}",service="${service}"${scope}${why}`;
    const headers = { ...API_VERSION, 'www-authenticate': challenge };
    sendStatus(response, entry, 401, { code: 'UNAUTHORIZED', headers });
  }

  async #manifest({ request, response, entry, caller, name, last }: Asked): Promise<void> {
    entry.kind = 'manifest';
    const { identity, standing, isCounted } = this.#count(request, entry, caller);
    if (isCounted) entry.counted = identity;
    const source = this.#options.accounts.get(caller.account ?? '')?.id ?? identity;
    const headers = { ...API_VERSION, ...rateHeaders(standing, source) };
    if (standing !== undefined && entry.method === 'GET' && !isCounted) {
      const message = 'You have reached your pull rate limit: /increase-rate-limits';
      sendStatus(response, entry, 429, { code: 'TOOMANYREQUESTS', message, headers });
      return;
    }
    const manifest = this.#modules.shelf.manifest(name, last);
    if (manifest === undefined) {
      sendStatus(response, entry, 404, { code: 'MANIFEST_UNKNOWN', headers });
      return;
    }
    const { digest, mediaType, bytes } = manifest;
    entry.digest = digest;
    const etag = `"${digest}"`;
    const own = { ...headers, etag, 'docker-content-digest': digest };
    const { method } = entry;
    const names = [digest, last];
    const fault = this.#modules.faults.take('registry', { kind: 'manifest', names, method });
    if (fault === undefined && isUnchanged(request, etag)) {
      sendStatus(response, entry, 304, { headers: own });
      return;
    }
    const content = { blob: blobOf(bytes), headers: { ...own, 'content-type': mediaType } };
    await sendContent(response, entry, { ...content, part: undefined }, fault);
  }

  /** Counts a GET; a HEAD only shows how things stand. */
  #count(
    request: IncomingMessage,
    entry: Entry,
    caller: Caller,
  ): { identity: string; standing: Standing | undefined; isCounted: boolean } {
    const { accounts, anonymousLimit } = this.#options;
    const { account } = caller;
    const identity = account ?? addressIdentity(request.socket.remoteAddress ?? '');
    const limit = account === undefined ? anonymousLimit() : accounts.get(account)?.limit;
    if (limit === undefined) {
      return { identity, standing: undefined, isCounted: entry.method === 'GET' };
    }
    const isCounted = entry.method === 'GET' && this.#modules.counts.count(identity, limit);
    return { identity, standing: this.#modules.counts.standing(identity, limit), isCounted };
  }

  async #blob({ response, entry, name, last }: Asked): Promise<void> {
    entry.kind = 'blob';
    const { shelf, faults, signedPath } = this.#modules;
    const blob = shelf.blobs.get(last);
    if (blob === undefined || shelf.repositories.get(name)?.blobs.has(last) !== true) {
      sendStatus(response, entry, 404, { code: 'BLOB_UNKNOWN', headers: API_VERSION });
      return;
    }
    entry.digest = blob.digest;
    const fault = faults.take('registry', { kind: 'blob', names: [last], method: entry.method });
    if (fault !== undefined) {
      await sendContent(response, entry, { blob, headers: API_VERSION, part: undefined }, fault);
      return;
    }
    const location = `${this.#options.cdnUrl()}${signedPath(blob.digest)}`;
    sendStatus(response, entry, 307, { headers: { ...API_VERSION, location } });
  }

  #tags({ response, entry, name, url }: Asked): void {
    entry.kind = 'tags';
    const last = url.searchParams.get('last') ?? '';
    const n = Math.min(Number(url.searchParams.get('n') ?? TAGS_MAX), TAGS_MAX);
    const all = [...(this.#modules.shelf.repositories.get(name)?.tags.keys() ?? [])].sort();
    const rest = all.filter((tag) => tag > last);
    const tags = rest.slice(0, n);
    const next = `</v2/${name}/tags/list?n=${n}&last=${tags.at(-1) ?? ''}>; rel="next"`;
    const link = rest.length > n ? { link: next } : {};
    sendJson(response, entry, { name, tags }, { 'content-type': 'application/json', ...link });
  }

  #referrers({ response, entry, name, last }: Asked): void {
    entry.kind = 'referrers';
    if (isDigest(last)) entry.digest = last;
    const manifests = this.#modules.shelf.referrers(name, last);
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
    sendJson(response, entry, index, { 'content-type': OCI_INDEX });
  }
}

type Asked = {
  request: IncomingMessage;
  response: ServerResponse;
  entry: Entry;
  caller: Caller;
  name: string;
  last: string;
  url: URL;
};

function sendJson(
  response: ServerResponse,
  entry: Entry,
  value: object,
  headers: Record<string, string>,
): void {
  entry.status = 200;
  response.writeHead(200, { ...API_VERSION, ...headers });
  response.end(JSON.stringify(value));
}

function isUnchanged(request: IncomingMessage, etag: string): boolean {
  const wanted = request.headers['if-none-match']?.split(',').map((each) => each.trim()) ?? [];
  return wanted.some((each) => each.replace(/^W\//, '') === etag || each === '*');
}

function rateHeaders(standing: Standing | undefined, source: string): Record<string, string> {
  if (standing === undefined) return {};
  const { limit, remaining } = standing;
  return {
    'ratelimit-limit': `${limit.pulls};w=${limit.windowSeconds}`,
    'ratelimit-remaining': `${remaining};w=${limit.windowSeconds}`,
    'docker-ratelimit-source': source,
  };
}
