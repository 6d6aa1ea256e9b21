import type { IncomingMessage, ServerResponse } from 'node:http';
import { ociError } from '../../proto/oci/errors.ts';
import { parseRegistryRoute, type RegistryRoute } from '../../proto/oci/routes.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { canonicalHost, type Repository } from '../../proto/oci/name.ts';
import type { BlobStore } from '../blobs/port.ts';
import type { Catalog } from '../catalog/port.ts';
import type { Uplink } from '../uplink/uplink.ts';
import { deleteBlob, getBlob } from './blobs.ts';
import { BufferMemory } from './buffer-memory.ts';
import {
  BODIES_MEMORY_BYTES,
  BODY_MEMORY_BYTES,
  BODY_MEMORY_MIN_BYTES,
  REQUESTS_MAX,
  UPLOADS_MAX,
} from './constants.ts';
import { faultOf } from './faults.ts';
import { connectionSignal, send, sendError, sendJson, type Exchange } from './http.ts';
import { LargeAnswers } from './large-answers.ts';
import { listReferrers, listRepositories, listTags } from './lists.ts';
import { ManifestReader } from './manifest-reader.ts';
import { deleteManifest, getManifest, putManifest } from './manifests.ts';
import type { ManifestPush, SparseContent } from './manifests.ts';
import type { RegistryMetrics } from './metrics.ts';
import { OpenUploads } from './open-uploads.ts';
import { getAhead, getProvisionalBatch, getProvisionalBytes } from './provisional.ts';
import type { ProvisionalBlobs } from './provisional.ts';
import { isOwnHost, namedRoute, type NamedRoute } from './place-names.ts';
import { awayHeaders, UpstreamAway, type PullThrough } from './pull-through.ts';
import {
  getUpstreamManifest,
  listUpstreamReferrers,
  listUpstreamTags,
} from './upstream-answers.ts';
import type { UploadStore } from './upload-store.ts';
import { Uploads } from './uploads.ts';

/** `any`: only to know who asks. */
export type RegistryAction = 'pull' | 'push' | 'delete' | 'any';

/** Decides who may; `challenge` is the WWW-Authenticate header to answer a refusal with. */
export interface RegistryGuard {
  /**
   * @throws OciError UNAUTHORIZED with wrong credentials; UNAUTHORIZED, DENIED or NAME_UNKNOWN
   * without rights
   */
  check(
    request: IncomingMessage,
    wish: { repository: string | undefined; action: RegistryAction },
  ): Promise<void>;
  /** A name of who asks, the same whatever credentials of theirs they use. */
  subjectOf(request: IncomingMessage): Promise<string>;
  /** The repositories that the sender of the request may see. */
  visibleTo(request: IncomingMessage): Promise<Pick<Catalog, 'repositories'>>;
  challenge(
    request: IncomingMessage,
    wish: { repository: string | undefined; action: RegistryAction },
  ): string;
}

export type RegistryOptions = {
  uploadsMax?: number;
  /** Of these, those of one account or robot. */
  uploadsPerSubjectMax?: number;
  /** Nothing that is not in the repository, unless said otherwise. */
  sparse?: SparseContent;
  /** Hosts in image names that mean this registry, beside the one a client asks. */
  names?: readonly string[];
  /** Names this hub among those that share its catalog; the same after a restart. */
  holder?: string;
};

export type RegistryModules = {
  blobs: BlobStore;
  catalog: Catalog;
  uploads: UploadStore;
  guard: RegistryGuard;
  statementFor(digest: Digest): Promise<Buffer | undefined>;
  /** Blobs that are being fetched from upstreams; undefined for a hub without any. */
  provisional?: ProvisionalBlobs | undefined;
  uplink: Pick<Uplink, 'enter'>;
  /** Who is to have his share of the uplink. */
  callerOf(request: IncomingMessage): string;
  /** Other registries that this one answers for. */
  pullThrough?: PullThrough | undefined;
  metrics: (uploadsOpen: () => number) => RegistryMetrics;
  /** Hears of pushed manifests. */
  pushed?: ((push: ManifestPush) => Promise<void>) | undefined;
  logger: Logger;
};

const PULL = ['GET', 'HEAD'];
/** What each kind of path answers to. */
const METHODS: Record<RegistryRoute['kind'], readonly string[]> = {
  base: PULL,
  catalog: PULL,
  tags: PULL,
  referrers: PULL,
  'chunk-statement': PULL,
  'chunk-hashes': PULL,
  'chunk-provisional': ['GET'],
  'chunk-ahead': ['GET'],
  blob: [...PULL, 'DELETE'],
  manifest: [...PULL, 'PUT', 'DELETE'],
  'upload-start': ['POST'],
  upload: [...PULL, 'PATCH', 'PUT', 'DELETE'],
};

/** The OCI distribution API of the hub over node's HTTP server. */
export class Registry {
  readonly #modules: RegistryModules;
  readonly #sparse: SparseContent;
  readonly #names: ReadonlySet<string>;
  readonly #uploads: Uploads;
  readonly #manifestReader = new ManifestReader();
  readonly #bodyMemory = new BufferMemory({
    totalBytes: BODIES_MEMORY_BYTES,
    minBytes: BODY_MEMORY_MIN_BYTES,
    maxBytes: BODY_MEMORY_BYTES,
  });
  readonly #answers = new LargeAnswers();
  readonly #metrics: RegistryMetrics;
  #inFlight = 0;
  #draining = false;
  #idle = Promise.withResolvers<void>();

  constructor(options: RegistryOptions, modules: RegistryModules) {
    const { uploadsMax = UPLOADS_MAX, holder = 'hub' } = options;
    const { sparse = { indexes: false, images: false }, uploadsPerSubjectMax: perSubjectMax } =
      options;
    this.#modules = modules;
    this.#sparse = sparse;
    this.#names = new Set(options.names?.map(canonicalHost));
    const { blobs, catalog, guard, uploads: store, logger } = modules;
    const mayPull = async ({ request }: Exchange, repository: Repository) => {
      try {
        await guard.check(request, { repository, action: 'pull' });
        return true;
      } catch (err) {
        if (hasCode(err, 'UNAUTHORIZED', 'DENIED', 'NAME_UNKNOWN')) return false;
        throw err;
      }
    };
    const metrics = () => this.#metrics;
    const open = new OpenUploads({ uploadsMax, perSubjectMax, holder }, { blobs, store, logger });
    const subjectOf = ({ request }: Exchange) => guard.subjectOf(request);
    this.#uploads = new Uploads({ blobs, catalog, open, metrics, mayPull, subjectOf });
    this.#metrics = modules.metrics(() => open.count);
  }

  /** Answers one request. Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const started = performance.now();
    const { path, query } = targetOf(request);
    const signal = connectionSignal(request);
    const exchange: Exchange = { request, response, query, signal, answers: this.#answers };
    response.setHeader('docker-distribution-api-version', 'registry/2.0');
    let kind: RegistryRoute['kind'] | 'invalid' = 'invalid';
    let reason: string | undefined;
    let route: RegistryRoute | undefined;
    this.#enter();
    try {
      if (this.#draining || this.#inFlight > REQUESTS_MAX) {
        throw ociError('UNAVAILABLE', 'the hub takes no more requests now; try again');
      }
      const namespace = this.#namespaceOf(exchange);
      route = parseRegistryRoute(path);
      ({ kind } = route);
      checkMethod(exchange, kind);
      const named = this.#named(route, namespace);
      ({ route } = named);
      await this.#authorise(exchange, named);
      await this.#answer(exchange, named);
    } catch (err) {
      reason = messageOf(err);
      this.#fail(exchange, err, route);
    } finally {
      this.#leave();
      const code = response.headersSent ? String(response.statusCode) : 'aborted';
      this.#metrics.requests.inc({ kind, code });
      const seconds = (performance.now() - started) / 1000;
      this.#metrics.seconds.observe({ kind }, seconds);
      const { method } = request;
      this.#modules.logger.debug({ method, path, kind, code, seconds, reason }, 'request');
    }
  }

  /** Refuses new requests and resolves when the running ones have ended. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#inFlight > 0) await this.#idle.promise;
  }

  /** Resolves when nothing of it runs in the background any more. */
  close(): Promise<void> {
    return this.#uploads.close();
  }

  #named(route: RegistryRoute, namespace: string | undefined): NamedRoute {
    const { pullThrough } = this.#modules;
    if (pullThrough === undefined) return { route, place: undefined };
    return namedRoute(route, namespace, pullThrough);
  }

  async #authorise({ request }: Exchange, { route, place }: NamedRoute): Promise<void> {
    const { repository, action } = wishOf(request, route);
    const writes = action === 'push' || action === 'delete';
    const isReserved = place !== undefined || repository?.split('/')[0]?.includes('.') === true;
    if (writes && isReserved) {
      throw ociError('DENIED', 'names that begin with a host are reserved for upstreams');
    }
    await this.#modules.guard.check(request, { repository, action });
  }

  async #answer(exchange: Exchange, { route, place }: NamedRoute): Promise<void> {
    const { catalog, pullThrough } = this.#modules;
    const method = exchange.request.method === 'HEAD' ? 'GET' : exchange.request.method;
    const modules = {
      ...this.#modules,
      manifestReader: this.#manifestReader,
      bodyMemory: this.#bodyMemory,
      sparse: this.#sparse,
      metrics: this.#metrics,
    };
    const uploads = this.#uploads;
    switch (route.kind) {
      case 'base':
        return sendJson(exchange, {});
      case 'catalog':
        return listRepositories(exchange, await this.#modules.guard.visibleTo(exchange.request));
      case 'tags':
        if (place && pullThrough) return listUpstreamTags(exchange, place, pullThrough);
        return listTags(exchange, route, catalog);
      case 'referrers':
        if (place && pullThrough) {
          return listUpstreamReferrers(exchange, { ...route, place }, pullThrough);
        }
        return listReferrers(exchange, route, catalog);
      case 'chunk-statement':
      case 'chunk-hashes':
        return this.#chunks(exchange, route);
      case 'chunk-provisional':
        return getProvisionalBatch(exchange, route, modules);
      case 'chunk-ahead':
        return getAhead(exchange, route, modules);
      case 'blob':
        if (await getProvisionalBytes(exchange, route, modules)) return undefined;
        if (method === 'GET') return getBlob(exchange, { ...route, place }, modules);
        return deleteBlob(exchange, route, modules);
      case 'manifest':
        if (place && pullThrough && method === 'GET') {
          return getUpstreamManifest(exchange, { ...route, place }, pullThrough);
        }
        if (method === 'GET') return getManifest(exchange, route, modules);
        if (method === 'PUT') return putManifest(exchange, route, modules);
        return deleteManifest(exchange, route, modules);
      case 'upload-start':
        return uploads.start(exchange, route.repository);
      case 'upload':
        if (method === 'GET') return uploads.status(exchange, route);
        if (method === 'PATCH') return uploads.patch(exchange, route);
        if (method === 'PUT') return uploads.put(exchange, route);
        return uploads.cancel(exchange, route);
    }
  }

  /** What lets a peer prove parts of a blob; with the rights of the blob. */
  async #chunks(
    exchange: Exchange,
    route: Extract<RegistryRoute, { kind: 'chunk-statement' | 'chunk-hashes' }>,
  ): Promise<void> {
    const { catalog } = this.#modules;
    const known = await catalog.blobIn(route.repository, route.digest);
    const bytes =
      known &&
      (route.kind === 'chunk-statement'
        ? await this.#modules.statementFor(route.digest)
        : (await catalog.blobChunks(route.digest))?.hashes);
    if (!bytes) throw ociError('BLOB_UNKNOWN', 'no chunks are known of this blob here');
    send(exchange, 200, { 'content-type': 'application/octet-stream' }, bytes);
  }

  /**
   * The host that a client says its image names ("Proxying"), unless that is us. It is told when
   * what it named is what answers.
   */
  #namespaceOf({ request, response, query }: Exchange): string | undefined {
    const namespace = query.get('ns');
    if (namespace === null || !/^[!-~]+$/.test(namespace)) return undefined;
    const isOwn = isOwnHost(namespace, request, this.#names);
    const reads = request.method === 'GET' || request.method === 'HEAD';
    const answers = isOwn || this.#modules.pullThrough?.upstreams.nameOf(namespace) !== undefined;
    if (reads && answers) response.setHeader('oci-namespace', namespace);
    return isOwn ? undefined : namespace;
  }

  #fail(exchange: Exchange, err: unknown, route: RegistryRoute | undefined): void {
    const kind = route?.kind ?? 'invalid';
    const { request, response } = exchange;
    const { logger, guard } = this.#modules;
    // Node destroys a request that was read to its end; the client still waits for the answer.
    if (exchange.signal.aborted || response.destroyed || (request.destroyed && !request.complete)) {
      logger.debug({ kind, reason: messageOf(err) }, 'client went away');
      response.destroy();
      return;
    }
    const fault = faultOf(err);
    const failed = fault.status >= 500 && fault.code !== 'UNAVAILABLE';
    if (failed) logger.warn({ kind, err }, 'request failed');
    const headers: Record<string, string> = {};
    if (fault.status === 401) {
      headers['www-authenticate'] = guard.challenge(request, wishOf(request, route));
    }
    if (fault instanceof UpstreamAway) Object.assign(headers, awayHeaders(fault));
    sendError(exchange, fault, headers);
  }

  #enter(): void {
    this.#inFlight += 1;
    this.#metrics.inFlight.set(this.#inFlight);
  }

  #leave(): void {
    this.#inFlight -= 1;
    this.#metrics.inFlight.set(this.#inFlight);
    if (this.#inFlight > 0) return;
    this.#idle.resolve();
    if (!this.#draining) this.#idle = Promise.withResolvers<void>();
  }
}

function checkMethod({ request, response }: Exchange, kind: RegistryRoute['kind']): void {
  const methods = METHODS[kind];
  if (methods.includes(request.method ?? '')) return;
  response.setHeader('allow', methods.join(', '));
  throw ociError('UNSUPPORTED', 'this method is not supported here');
}

/** What a request wants to do, by what its path means and never by how it is written. */
function wishOf(
  { method = '' }: IncomingMessage,
  route: RegistryRoute | undefined,
): { repository: string | undefined; action: RegistryAction } {
  const repository = route && 'repository' in route ? route.repository : undefined;
  if (route?.kind === 'base') return { repository, action: 'any' };
  // To look at an upload or to give it up takes what it takes to begin it.
  if (route?.kind === 'upload' || route?.kind === 'upload-start') {
    return { repository, action: 'push' };
  }
  if (PULL.includes(method)) return { repository, action: 'pull' };
  return { repository, action: method === 'DELETE' ? 'delete' : 'push' };
}

function targetOf(request: IncomingMessage): { path: string; query: URLSearchParams } {
  const { url = '' } = request;
  const mark = url.indexOf('?');
  if (mark < 0) return { path: url, query: new URLSearchParams() };
  return { path: url.slice(0, mark), query: new URLSearchParams(url.slice(mark + 1)) };
}
