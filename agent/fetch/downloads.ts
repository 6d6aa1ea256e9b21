import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { isOfUpstream } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';
import type { ContentStore, GrowingBlob, StoredBlob } from '../store/port.ts';
import { Ahead } from './ahead.ts';
import { Announcer } from './announcer.ts';
import type { ChunkBudgets } from './chunk-fetcher.ts';
import { ChunkMemory } from './chunk-memory.ts';
import { DIRECT_READERS_MAX, DOWNLOADS_MAX, NO_ROOM_MS, OPEN_TIMEOUT_MS } from './constants.ts';
import { Download } from './download.ts';
import type { DownloadModules, Growth } from './download.ts';
import { fetchClosed, fetchError } from './errors.ts';
import { factsFromPeers, factsFromSource, statedByNow } from './facts.ts';
import type { BlobFacts, FactModules } from './facts.ts';
import { firstOf } from './first-of.ts';
import type { GrantBook } from './grants.ts';
import { NodeShares } from './node-shares.ts';
import type { SharePlace } from './node-shares.ts';
import { bufferHandle, directHandle, supplyHandle, unstatedHandle } from './handles.ts';
import type { FetchMetrics } from './metrics.ts';
import { Passthrough } from './passthrough.ts';
import { Precedence } from './precedence.ts';
import { ProvisionalDownload } from './provisional.ts';
import type {
  AnnounceItem,
  BlobHandle,
  CallOptions,
  FleetClient,
  HubSource,
  OpenRequest,
  Swarm,
} from './ports.ts';
import { ReadBuffers } from './read-buffers.ts';
import { SmallBlobs } from './small.ts';
import { StoredSupply } from './stored-supply.ts';
import type { ReadModules } from './supply.ts';
import { verifyStatement } from '../../proto/chunks/statement.ts';

export type DownloadsOptions = {
  /** Bound on the bytes of chunks between network and disk. Default CHUNK_MEMORY_BYTES. */
  chunkMemoryBytes?: number;
  random?: () => number;
};

export type DownloadsModules = {
  store: ContentStore;
  swarm: Swarm;
  fleet: FleetClient;
  grants: Pick<GrantBook, 'ensure'> & Partial<Pick<GrantBook, 'tokenFor'>>;
  /** Source of the namespace `hub`; undefined for an agent without a hub. */
  hub: HubSource | undefined;
  /** Source of any other namespace, if one is configured. */
  upstream: (namespace: string) => HubSource | undefined;
  /** What chunks may take of the link. */
  budgets?: (ChunkBudgets & { prefetch?: RateBudget | undefined }) | undefined;
  metrics: FetchMetrics;
  logger: Logger;
};

type Running = Download | Passthrough | ProvisionalDownload;
/** `by`: whoever opens it, which need not be who began. */
type Opened = (reading: Reading, by: OpenRequest) => BlobHandle;
type Opening = { origin: string; opened: Promise<Opened> };
type Reading = ReadModules & { logger: Logger };

/** All blobs of the agent: one download per digest, however many readers. */
export class Downloads {
  readonly #modules: DownloadsModules;
  readonly #options: DownloadsOptions;
  readonly #announcer: Announcer;
  readonly #memory: ChunkMemory;
  readonly #precedence: Precedence;
  readonly #small: SmallBlobs;
  readonly #shares: NodeShares;
  readonly #ahead: Ahead;
  readonly #reading: Reading;
  readonly #direct = new Semaphore({ permits: DIRECT_READERS_MAX, queueMax: 0 });
  readonly #opening = new Map<Digest, Opening>();
  readonly #running = new Map<Digest, Running>();
  /** Of what runs. */
  readonly #origins = new WeakMap<Running, string>();
  /** Those that were begun for nobody, and that nobody has opened since. */
  readonly #unread = new Set<Digest>();
  #noRoomUntilMs = 0;
  #closed = false;

  constructor(options: DownloadsOptions, modules: DownloadsModules) {
    const { store, swarm, fleet, metrics, logger } = modules;
    this.#modules = modules;
    this.#options = options;
    const bytes = options.chunkMemoryBytes;
    this.#memory = new ChunkMemory(bytes === undefined ? {} : { bytes });
    this.#precedence = new Precedence({ budget: modules.budgets?.prefetch, metrics });
    const tokenFor = (namespace: string, repository: string) =>
      modules.grants.tokenFor?.(namespace, repository);
    this.#announcer = new Announcer({ fleet, tokenFor, stored: () => store.list(), logger });
    const sourceOf = (namespace: string): HubSource | undefined => this.#sourceOf(namespace);
    const online = (): boolean => fleet.online;
    this.#small = new SmallBlobs({ store, swarm, sourceOf, online, metrics, logger });
    const { trust } = fleet;
    const announce = (item: AnnounceItem): void => this.#announcer.tell(item);
    this.#shares = new NodeShares({ store, swarm, trust, sourceOf, announce, metrics, logger });
    this.#ahead = new Ahead({ store, sourceOf, logger });
    const buffers = new ReadBuffers((lent) => metrics.readers.set(lent));
    this.#reading = { buffers, metrics, logger };
  }

  /** Begins to tell the tracker what this node holds. */
  start(): void {
    this.#announcer.start();
  }

  /** An image was resolved under `place`: what the runtime has of it already is shared. */
  notice(place: SharePlace, manifest: Digest, bytes?: Buffer): void {
    this.#shares.notice(place, manifest, bytes);
  }

  /** A runtime begins to pull this image: the hub is told which layer it will ask for. */
  ahead(place: SharePlace, _manifest: Digest, bytes: Buffer): void {
    this.#ahead.notice(place, bytes);
  }

  /** Blobs being fetched now. */
  get active(): number {
    return this.#running.size;
  }

  /**
   * A whole manifest, checked; undefined when the hub or upstream says it is not there. The caller
   * has checked the right to it.
   * @throws FetchError UNAVAILABLE, BUSY
   */
  manifest(request: OpenRequest, o: CallOptions): Promise<Buffer | undefined> {
    this.#checkOpen();
    return this.#small.get(request, 'manifest', o);
  }

  /**
   * Opens a blob for reading, beginning its download if need be. The caller has checked the right
   * to it; the grant serves to ask peers. An answer comes within OPEN_TIMEOUT_MS.
   * @throws FetchError NOT_FOUND, UNAVAILABLE, BUSY, CLOSED; the reason of the signal
   */
  async open(request: OpenRequest, o: CallOptions): Promise<BlobHandle> {
    this.#checkOpen();
    o.signal?.throwIfAborted();
    const { digest, claimedSize } = request;
    if (claimedSize !== undefined) return this.#alone(request, claimedSize);
    this.#modules.store.claim(digest, request);
    this.#unread.delete(digest);
    const running = this.#running.get(digest);
    using limit = deadline(OPEN_TIMEOUT_MS, o.signal);
    try {
      if (running !== undefined && running.failure === undefined) {
        if (!this.#mayJoin(request, running)) return await this.#beside(request, limit);
        return this.#handleOf(request, running)(this.#reading, request);
      }
      const opening = this.#opening.get(digest);
      if (opening !== undefined && opening.origin !== originOf(request)) {
        return await this.#beside(request, limit);
      }
      const opened = await abortable(opening?.opened ?? this.#beginOpening(request), limit.signal);
      this.#unread.delete(digest);
      return opened(this.#reading, request);
    } catch (err) {
      o.signal?.throwIfAborted();
      if (!hasCode(err, 'TIMEOUT')) throw err;
      throw fetchError('UNAVAILABLE', `nobody told about ${digest} in time`, digest, err);
    }
  }

  /**
   * Fetches a blob into the store although nobody reads it; resolves when it is all here. When the
   * signal aborts it ends, unless somebody has come to read it meanwhile.
   * @throws what open() throws; FetchError FULL when the store has no room for it
   */
  async prefetch(request: OpenRequest, o: CallOptions): Promise<void> {
    const { digest } = request;
    this.#checkOpen();
    o.signal?.throwIfAborted();
    this.#modules.store.claim(digest, request);
    const opening = this.#running.has(digest)
      ? undefined
      : (this.#opening.get(digest)?.opened ?? this.#beginUnread(request));
    try {
      await abortable(Promise.resolve(opening), o.signal);
      const running = this.#running.get(digest);
      if (running !== undefined) await abortable(running.ended, o.signal);
      if (running?.failure !== undefined) throw running.failure;
      if (await this.#isHeld(digest)) return;
      throw fetchError('FULL', `the store has no room for ${digest}`, digest);
    } finally {
      if (o.signal?.aborted) void this.#letGo(digest, opening);
      else this.#unread.delete(digest);
    }
  }

  /** Stops all downloads and announcements. Readers end with CLOSED. */
  async close(): Promise<void> {
    this.#closed = true;
    const running = [...this.#running.values()];
    for (const download of running) download.close();
    await Promise.all([
      this.#announcer.close(),
      this.#shares.close(),
      ...running.map((download) => download.ended),
    ]);
  }

  #beginUnread(request: OpenRequest): Promise<Opened> {
    this.#unread.add(request.digest);
    return this.#beginOpening(request);
  }

  /** Ends what was begun for nobody, as soon as it has begun. Never rejects. */
  async #letGo(digest: Digest, opening: Promise<Opened> | undefined): Promise<void> {
    await Promise.allSettled([opening]);
    if (this.#unread.delete(digest)) this.#running.get(digest)?.stop();
  }

  async #isHeld(digest: Digest): Promise<boolean> {
    const { store } = this.#modules;
    const stored = this.#believed(store.find(digest));
    return stored?.complete === true || (await store.getSmall(digest)) !== undefined;
  }

  #beginOpening(request: OpenRequest): Promise<Opened> {
    const { digest } = request;
    const opened = this.#locate(request).finally(() => this.#opening.delete(digest));
    this.#opening.set(digest, { origin: originOf(request), opened });
    // A caller that gave up must not turn a late failure into an unhandled one.
    opened.catch(() => {});
    return opened;
  }

  async #locate(request: OpenRequest): Promise<Opened> {
    const { store, metrics } = this.#modules;
    const { digest } = request;
    const stored = this.#believed(store.find(digest));
    if (stored?.complete === true) {
      const past = this.#directly(request, stored);
      return (reading, by) =>
        supplyHandle(new StoredSupply(stored, metrics), reading, past(reading, by));
    }
    if (stored?.servable === true) return this.#download(request, stored);
    const small = await store.getSmall(digest);
    if (small !== undefined) {
      metrics.bytes.inc({ source: 'local' }, small.length);
      return () => bufferHandle(small);
    }
    const facts = await this.#facts(request);
    if (facts.kind === 'small') return this.#openSmall(request);
    if (facts.kind === 'unstated') return this.#openUnstated(request, facts.size);
    if (facts.kind === 'provisional') return this.#openProvisional(request, facts);
    return this.#openChunked(request, facts);
  }

  /** Leaves out what was stored under a key that is revoked by now. */
  #believed(stored: StoredBlob | undefined): StoredBlob | undefined {
    if (stored?.servable !== true) return stored;
    try {
      verifyStatement(stored.statement, this.#modules.fleet.trust);
      return stored;
    } catch (err) {
      const fields = { digest: stored.digest, reason: messageOf(err) };
      this.#modules.logger.warn(fields, 'stored statement is not believed any more');
      return undefined;
    }
  }

  async #facts(request: OpenRequest): Promise<BlobFacts> {
    const { fleet } = this.#modules;
    const { digest } = request;
    const source = this.#sourceOf(request.namespace);
    const modules = this.#factModules();
    using limit = deadline(OPEN_TIMEOUT_MS);
    const ways = {
      main:
        source === undefined
          ? undefined
          : (o: CallOptions) => factsFromSource(request, source, modules, o),
      other: (o: CallOptions) => factsFromPeers(request, modules, o),
      hedge: source?.kind === 'upstream' || fleet.online,
    };
    let facts: BlobFacts | 'absent' | undefined;
    let cause: unknown;
    try {
      facts = await firstOf<BlobFacts | 'absent'>(ways, { signal: limit.signal });
    } catch (err) {
      cause = err;
    }
    if (facts === 'absent') throw fetchError('NOT_FOUND', `${digest} is not there`, digest);
    if (facts !== undefined) return facts;
    throw fetchError('UNAVAILABLE', `nobody could tell about ${digest}`, digest, cause);
  }

  #factModules(): FactModules {
    const { swarm, fleet, metrics } = this.#modules;
    return { swarm, trust: fleet.trust, metrics };
  }

  async #openSmall(request: OpenRequest): Promise<Opened> {
    const bytes = await this.#small.get(request, 'blob', {});
    if (bytes !== undefined) return () => bufferHandle(bytes);
    throw fetchError('NOT_FOUND', `${request.digest} is not there`, request.digest);
  }

  async #openChunked(
    request: OpenRequest,
    facts: Extract<BlobFacts, { kind: 'chunked' }>,
  ): Promise<Opened> {
    const { size, statement, hashes } = facts;
    const { digest, namespace, repository } = request;
    if (!this.#hasRoom()) return this.#directly(request, { digest, size, hashes });
    try {
      const origin = { namespace, repository };
      const input = { digest, size, statement, hashes, origin };
      return this.#download(request, await this.#modules.store.create(input));
    } catch (err) {
      this.#noteNoRoom(err);
      return this.#directly(request, { digest, size, hashes });
    }
  }

  async #openProvisional(
    request: OpenRequest,
    { size, batch }: Extract<BlobFacts, { kind: 'provisional' }>,
  ): Promise<Opened> {
    const { digest, namespace, repository } = request;
    const source = this.#sourceOf(namespace);
    if (source === undefined || !this.#hasRoom()) return this.#openUnstated(request, size);
    const { store, fleet, metrics, logger } = this.#modules;
    const origin = { namespace, repository };
    let blob: GrowingBlob;
    try {
      blob = await store.grow({ digest, size, session: batch.session, origin });
    } catch (err) {
      this.#noteNoRoom(err);
      return this.#openUnstated(request, size);
    }
    try {
      const stated = (o: CallOptions) => statedByNow(request, source, this.#factModules(), o);
      const make = (growth: Growth) => this.#newDownload(request, blob, growth);
      const modules = { source, stated, trust: fleet.trust, metrics, logger };
      return this.#run(request, new ProvisionalDownload(request, blob, batch, make, modules));
    } catch (err) {
      await blob.discard();
      throw err;
    }
  }

  async #openUnstated(request: OpenRequest, size: number): Promise<Opened> {
    const { digest, namespace, repository } = request;
    const source = this.#sourceOf(namespace);
    if (source === undefined) throw noSource(digest);
    const { metrics, logger, store } = this.#modules;
    if (this.#hasRoom() && this.#running.size < DOWNLOADS_MAX) {
      try {
        const spool = await store.spool({ digest, size, origin: { namespace, repository } });
        const claim = this.#unread.has(digest)
          ? this.#precedence.enter({ isRead: false })
          : undefined;
        const passing = new Passthrough(request, size, { source, spool, claim, metrics, logger });
        return this.#run(request, passing);
      } catch (err) {
        this.#noteNoRoom(err);
      }
    }
    return () => unstatedHandle({ request, size, source }, this.#direct);
  }

  /** Bytes that nothing proves yet are only for who would have got them from the same place. */
  #mayJoin(request: OpenRequest, running: Running): boolean {
    const isProven =
      running instanceof Download || (running instanceof ProvisionalDownload && running.settled);
    return isProven || this.#origins.get(running) === originOf(request);
  }

  /** Past what others have on its way here. */
  async #beside(request: OpenRequest, o: CallOptions): Promise<BlobHandle> {
    const { digest, namespace, repository } = request;
    const source = this.#sourceOf(namespace);
    if (source === undefined) throw noSource(digest);
    const head = await source.head(repository, digest, o);
    if (head === undefined) throw fetchError('NOT_FOUND', `${digest} is not there`, digest);
    if (head.size > UNCHUNKED_MAX_BYTES) return this.#alone(request, head.size);
    return (await this.#openSmall(request))(this.#reading, request);
  }

  /** From its own source, for this reader alone; nothing that is held of it is looked at. */
  #alone(request: OpenRequest, size: number): BlobHandle {
    const source = this.#sourceOf(request.namespace);
    if (source === undefined) throw noSource(request.digest);
    return unstatedHandle({ request, size, source }, this.#direct);
  }

  #download(request: OpenRequest, blob: StoredBlob): Opened {
    return this.#run(request, this.#newDownload(request, blob));
  }

  #newDownload(request: OpenRequest, blob: StoredBlob, growth?: Growth): Download {
    if (this.#running.size >= DOWNLOADS_MAX) {
      throw fetchError('BUSY', `more than ${DOWNLOADS_MAX} blobs are being fetched`);
    }
    const { swarm, grants, metrics, logger } = this.#modules;
    const { random } = this.#options;
    const modules: DownloadModules = {
      swarm,
      grants,
      metrics,
      logger,
      source: this.#sourceOf(request.namespace),
      announcer: this.#announcer,
      memory: this.#memory,
      precedence: this.#precedence,
      isRead: !this.#unread.has(request.digest),
      budgets: this.#modules.budgets,
      growth,
      ...(random === undefined ? {} : { random }),
    };
    return new Download(request, blob, modules);
  }

  #run(request: OpenRequest, download: Running): Opened {
    this.#checkOpen();
    const { digest } = request;
    this.#running.set(digest, download);
    this.#origins.set(download, originOf(request));
    download.start();
    void this.#forgetAfter(digest, download);
    return this.#handleOf(request, download);
  }

  async #forgetAfter(digest: Digest, download: Running): Promise<void> {
    await download.ended;
    if (this.#running.get(digest) === download) this.#running.delete(digest);
    this.#noteNoRoom(download.failure);
  }

  #handleOf(request: OpenRequest, download: Running): Opened {
    if (download instanceof Passthrough) return (reading) => supplyHandle(download, reading);
    if (download instanceof ProvisionalDownload) {
      // Past the store there is nothing that every byte could be checked against.
      return (reading, by) =>
        download.settled
          ? this.#handleOf(by, download.download)(reading, by)
          : supplyHandle(download.reader(by), reading);
    }
    const past = this.#directly(request, download.proof);
    return (reading, by) => supplyHandle(download, reading, past(reading, by));
  }

  #directly(request: OpenRequest, proof: { digest: Digest; size: number; hashes: Buffer }): Opened {
    const { swarm, metrics, logger } = this.#modules;
    const source = this.#sourceOf(request.namespace);
    const { budgets } = this.#modules;
    const shared = { source, memory: this.#memory, budgets, metrics, logger };
    const modules = { transport: swarm.transport, ...shared };
    return () => directHandle(request, proof, modules, this.#direct);
  }

  #sourceOf(namespace: string): HubSource | undefined {
    return namespace === HUB_NAMESPACE ? this.#modules.hub : this.#modules.upstream(namespace);
  }

  #hasRoom(): boolean {
    return performance.now() >= this.#noRoomUntilMs;
  }

  /** With a full disk every download would end in the same place, so none begins for a while. */
  #noteNoRoom(err: unknown): void {
    if (!hasCode(err, 'DISK_FULL', 'STORE_FULL', 'IO')) return;
    if (!hasCode(err, 'STORE_FULL')) this.#noRoomUntilMs = performance.now() + NO_ROOM_MS;
    this.#modules.logger.warn({ reason: messageOf(err) }, 'content is passed on without storing');
  }

  #checkOpen(): void {
    if (this.#closed) throw fetchClosed();
  }
}

function noSource(digest: Digest): Error {
  return fetchError('UNAVAILABLE', `no source for ${digest}`, digest);
}

/**
 * Where bytes come from before anything proves them: the hub keeps those of its upstreams apart,
 * and those of private repositories from each other. What was pushed to it is proven.
 */
function originOf({ namespace, repository, grant }: OpenRequest): string {
  if (namespace !== HUB_NAMESPACE || !isOfUpstream(repository)) return namespace;
  const isPublic = grant !== undefined && grant.isPrivate !== true;
  return `${namespace} ${isPublic ? repository.slice(0, repository.indexOf('/')) : repository}`;
}
