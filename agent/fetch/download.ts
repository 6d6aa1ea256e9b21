import { chunkIndexAt, chunkRange } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { StoredBlob } from '../store/port.ts';
import type { Announced, Announcer } from './announcer.ts';
import { sampleMembers } from './ask-peers.ts';
import { ChunkFetcher, failureOf } from './chunk-fetcher.ts';
import type { ChunkBudgets, ChunkFrom, ChunkProof } from './chunk-fetcher.ts';
import type { ChunkMemory } from './chunk-memory.ts';
import { DOWNLOAD_GIVE_UP_MS, TICK_MS } from './constants.ts';
import { Cursors } from './cursors.ts';
import type { Cursor } from './cursors.ts';
import { fetchClosed, fetchError } from './errors.ts';
import { FreshChunks } from './fresh-chunks.ts';
import type { GrantBook } from './grants.ts';
import { sizeBucket } from './metrics.ts';
import type { FetchMetrics } from './metrics.ts';
import { NewsPace } from './news-pace.ts';
import { PeerSet } from './peer-set.ts';
import type { Claim, Precedence } from './precedence.ts';
import { SwarmPlanner } from './planner.ts';
import type { Planner, PlannerCommand, PlannerEvent } from './planner-port.ts';
import type {
  AnnounceItem,
  AnnounceResult,
  FileSink,
  HubSource,
  OpenRequest,
  Swarm,
} from './ports.ts';
import type { ReceivedChunk } from './received-chunk.ts';
import type { Lease, Supply } from './supply.ts';
import { lostOf, passStored } from './stored-supply.ts';
import { Waiters } from './waiters.ts';

export type DownloadModules = {
  swarm: Swarm;
  source: HubSource | undefined;
  announcer: Announcer;
  memory: ChunkMemory;
  budgets?: ChunkBudgets | undefined;
  precedence: Precedence;
  /** False: nobody waits for it, so that it takes no more than is left for such. */
  isRead?: boolean;
  grants: Pick<GrantBook, 'ensure'>;
  metrics: FetchMetrics;
  logger: Logger;
  random?: () => number;
  /** Of a blob that the hub still fetches. */
  growth?: Growth | undefined;
};

export type Growth = {
  /** What chunks are checked against; undefined when that is a statement by now. */
  session: () => Buffer | undefined;
  /** Called when the download fails, before the tracker is told what is held. */
  failing: () => void;
};

type Outcome = 'complete' | 'failed' | 'stalled' | 'stopped';

/** Codes of the store after which it is no use to go on writing. */
const STORE_CODES = ['DISK_FULL', 'STORE_FULL', 'EVICTED', 'CLOSED', 'IO'];

/**
 * Fetches one chunked blob into the store: the planner decides, this carries out. It goes on when
 * the readers have left, until the blob is complete or nothing moves for DOWNLOAD_GIVE_UP_MS.
 */
export class Download implements Supply, Announced {
  readonly digest: Digest;
  readonly size: number;
  /** Resolves when the download is over, whatever the outcome. */
  readonly ended: Promise<void>;
  readonly #request: OpenRequest;
  readonly #blob: StoredBlob;
  readonly #modules: DownloadModules;
  readonly #planner: Planner;
  readonly #peers: PeerSet;
  readonly #fetcher: ChunkFetcher;
  readonly #claim: Claim;
  readonly #cursors = new Cursors();
  readonly #fresh: FreshChunks;
  readonly #waiters = new Waiters();
  readonly #requests = new Map<number, AbortController>();
  /** Chunks being written, and for which request. */
  readonly #landing = new Map<number, number>();
  readonly #ending = Promise.withResolvers<void>();
  readonly #holds = new DisposableStack();
  readonly #startMs = performance.now();
  readonly #newsPace = new NewsPace({ startMs: this.#startMs });
  #progressMs = performance.now();
  #leasesWanted = 0;
  #bypassWanted = 0;
  /** The tracker has leases to give, so a wish for more need not wait for the next round. */
  #leasesFlow = true;
  #failure: Error | undefined;
  #over = false;

  constructor(request: OpenRequest, blob: StoredBlob, modules: DownloadModules) {
    this.digest = request.digest;
    this.size = blob.size;
    this.ended = this.#ending.promise;
    this.#request = request;
    this.#blob = blob;
    this.#modules = modules;
    this.#planner = new SwarmPlanner({
      chunkCount: blob.layout.chunkCount,
      have: blob.have,
      held: blob.pending,
      growing: modules.growth !== undefined,
      hub: modules.source !== undefined,
      startMs: this.#startMs,
      random: modules.random ?? Math.random,
    });
    const { digest, size, layout } = blob;
    const session = modules.growth?.session;
    this.#fresh = new FreshChunks(layout, { cursors: this.#cursors, memory: modules.memory });
    this.#peers = new PeerSet(
      { digest, size, chunkCount: layout.chunkCount, session },
      {
        swarm: modules.swarm,
        grant: (o) => modules.grants.ensure(request.namespace, request.repository, digest, o),
        onEvent: (event) => this.#dispatch(event),
        spacingMs: () => this.#newsPace.spacingMs,
        logger: modules.logger,
      },
    );
    this.#claim = modules.precedence.enter({ isRead: modules.isRead });
    this.#fetcher = new ChunkFetcher(proofOf(blob, session), request.repository, {
      transport: modules.swarm.transport,
      source: modules.source,
      memory: modules.memory,
      budgets: modules.budgets,
      metrics: modules.metrics,
    });
  }

  start(): void {
    this.#modules.metrics.inFlight.inc();
    this.#holds.use(this.#claim);
    this.#holds.use(this.#blob.retain());
    this.#holds.use(this.#blob.onChange((index) => this.#chunkChanged(index)));
    const timer = setInterval(() => this.#tick(), TICK_MS);
    this.#holds.defer(() => clearInterval(timer));
    // The first announcement tells already how many leases are wanted.
    this.#dispatch({ type: 'tick' });
    this.#holds.use(this.#modules.announcer.track(this));
    if (this.#blob.complete) this.#end('complete');
  }

  /** Stops because the agent stops. What is verified stays in the store. */
  close(): void {
    this.#fail(fetchClosed());
  }

  /** Ends it because of what was found out about the blob. */
  abort(failure: Error): void {
    this.#fail(failure);
  }

  /** The source begins anew: what it was asked for before its hash was known may never come. */
  restarted(): void {
    if (this.#blob.pending.has(0)) this.#dispatch({ type: 'held', index: 0 });
  }

  /** Readers look again what there is for them. */
  wake(): void {
    this.#waiters.wakeAll();
  }

  /** Stops because it is not wanted any more. What is verified stays in the store. */
  stop(): void {
    if (this.#over) return;
    this.#failure = fetchClosed();
    this.#end('stopped');
  }

  /** Why it ended without the whole blob; undefined while it runs and after success. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  item(): AnnounceItem {
    const { namespace, repository } = this.#request;
    const { digest, size, complete, have } = this.#blob;
    // What has to wait here takes no chunks from those who could fetch them.
    const leasesMax = this.#claim.yields ? 1 : this.#leasesWanted;
    const hubChunksWanted = this.#over ? 0 : Math.min(leasesMax, this.#leasesWanted);
    const bypassWanted = this.#over ? 0 : this.#bypassWanted;
    const nowMs = performance.now();
    const crossings = this.#over ? [] : this.#planner.crossingsWanted(nowMs);
    const crossingsWanted = this.#claim.yields ? crossings.slice(0, 1) : crossings;
    const wishes = { hubChunksWanted, bypassWanted, crossingsWanted };
    return { namespace, repository, digest, size, complete, have, ...wishes };
  }

  answered(result: AnnounceResult): void {
    if (this.#over) return;
    this.#peers.add(result.peers);
    const peersKnown = result.peers.length;
    this.#leasesFlow = result.hubChunks.length > 0;
    this.#leasesWanted = 0;
    this.#bypassWanted = 0;
    const { hubChunks: indices, bypassChunks: bypass, crossings } = result;
    this.#dispatch({ type: 'hubLease', indices, peersKnown, bypass, crossings });
  }

  unanswered(): void {
    if (this.#over) return;
    this.#peers.add(sampleMembers(this.#modules.swarm));
    this.#dispatch({ type: 'hubDown' });
  }

  available(position: number): number {
    const index = chunkIndexAt(this.#blob.layout, position);
    if (!this.#blob.have.has(index) && !this.#fresh.has(index)) return 0;
    return chunkRange(this.#blob.layout, index).end - position;
  }

  changed(signal: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#over) return Promise.reject(lostOf(this.digest));
    return this.#waiters.next(signal);
  }

  async read(into: Buffer, position: number): Promise<void> {
    const isStored = this.#blob.have.has(chunkIndexAt(this.#blob.layout, position));
    using fresh = isStored ? undefined : this.lend(position);
    if (fresh === undefined) return this.#blob.read(into, position);
    fresh.bytes.copy(into);
    return fresh.finished();
  }

  lend(position: number): Lease | undefined {
    return this.available(position) === 0 ? undefined : this.#fresh.lend(position);
  }

  async pass(position: number, length: number, sink: FileSink): Promise<number | undefined> {
    const { have, layout } = this.#blob;
    const isStored = have.has(chunkIndexAt(layout, position));
    return isStored ? passStored(this.#blob, position, length, sink) : undefined;
  }

  enter(position: number, nowMs: number): Cursor {
    return this.#cursors.enter(position, nowMs);
  }

  hold(): Disposable {
    return this.#blob.retain();
  }

  /** What its chunks are checked against. */
  get proof(): { digest: Digest; size: number; hashes: Buffer } {
    return this.#blob;
  }

  #dispatch(event: PlannerEvent): void {
    if (this.#over) return;
    const commands = this.#planner.handle(event, performance.now());
    for (const command of commands) this.#obey(command);
  }

  #obey(command: PlannerCommand): void {
    switch (command.type) {
      case 'askHubLease': {
        const wantedMore = command.wanted > this.#leasesWanted;
        this.#leasesWanted = command.wanted;
        this.#bypassWanted = command.bypass;
        if (wantedMore && this.#leasesFlow) this.#modules.announcer.nudge();
        break;
      }
      case 'cancel':
        this.#requests.get(command.ticket)?.abort(new Error('no longer needed'));
        break;
      case 'letGo':
        this.#peers.drop(command.peerId);
        break;
      case 'fetchFromHub':
        void this.#fetch(command.ticket, command.index, { kind: 'source' });
        break;
      case 'fetchFromPeer':
        void this.#fetch(command.ticket, command.index, { kind: 'peer', peerId: command.peerId });
        break;
    }
  }

  async #fetch(ticket: number, index: number, from: ChunkFrom): Promise<void> {
    const controller = new AbortController();
    this.#requests.set(ticket, controller);
    const { signal } = controller;
    const started = (): void => this.#dispatch({ type: 'started', ticket });
    const keep = async (chunk: ReceivedChunk): Promise<void> => {
      if (this.#over || this.#blob.have.has(index)) return;
      this.#landing.set(index, ticket);
      const begun = (): void => {
        this.#fresh.offer(index, chunk, performance.now());
        if (this.#fresh.has(index)) this.#waiters.wakeAll();
      };
      try {
        await this.#blob.write(index, chunk.bytes, begun);
      } catch (err) {
        this.#fresh.drop(index);
        throw err;
      } finally {
        this.#landing.delete(index);
      }
    };
    const { start, end } = chunkRange(this.#blob.layout, index);
    try {
      using early = this.#blob.pending.has(index) ? await this.#early() : undefined;
      using turn = await this.#claim.turn(end - start, signal);
      void turn;
      const checkable = early && this.#checkable(index, signal);
      const isFar = from.kind === 'peer' && this.#peers.isFar(from.peerId);
      await this.#fetcher.fetch(from, index, { started, checkable, keep }, signal);
      if (isFar) this.#modules.metrics.crossed.inc(end - start);
      // Normally told by the store already; a chunk that was there before is told here.
      this.#dispatch({ type: 'chunkDone', index, ticket });
    } catch (err) {
      if (!signal.aborted) this.#failed(ticket, index, from, err);
    } finally {
      this.#requests.delete(ticket);
    }
  }

  /** @throws CodedError QUEUE_FULL when nobody waits for its bytes, or enough others do so */
  #early(): Promise<Disposable> {
    if (this.#claim.isRead) return this.#modules.memory.early();
    return Promise.reject(fetchError('BUSY', `nobody reads ${this.digest}`, this.digest));
  }

  /** Resolves when there is a hash to check a chunk against. */
  async #checkable(index: number, signal: AbortSignal): Promise<void> {
    // oxlint-disable-next-line no-await-in-loop -- one change after the other
    while (this.#blob.pending.has(index)) await this.#waiters.next(signal);
  }

  #failed(ticket: number, index: number, from: ChunkFrom, err: unknown): void {
    if (this.#over) return;
    if (err instanceof Error && err.name === 'StoreError' && isStoreFailure(err)) {
      this.#fail(err);
      return;
    }
    const { logger, swarm } = this.#modules;
    const reason = failureOf(err);
    if (from.kind === 'peer') {
      const node = this.#peers.nodeOf(from.peerId);
      if (reason === 'mismatch') {
        const fields = { digest: this.digest, chunk: index, node };
        logger.warn(fields, 'peer sent a chunk that does not match the signed root; banning it');
        swarm.ban(from.peerId, 'chunk-mismatch', fields);
        this.#peers.drop(from.peerId);
      } else {
        const fields = { digest: this.digest, chunk: index, node, reason: messageOf(err) };
        logger.debug(fields, 'chunk not received from a peer');
        if (reason !== 'failed') this.#peers.refresh(from.peerId);
      }
    } else {
      const level = reason === 'mismatch' ? 'warn' : 'debug';
      const fields = { digest: this.digest, chunk: index, reason: messageOf(err) };
      logger[level](fields, 'chunk not received from the hub, trying again');
    }
    this.#dispatch({ type: 'chunkFailed', ticket, reason });
  }

  #chunkChanged(index: number): void {
    if (this.#blob.have.has(index)) {
      this.#progressMs = performance.now();
      this.#newsPace.landed(this.#progressMs);
      this.#dispatch({ type: 'chunkDone', index, ticket: this.#landing.get(index) });
    } else if (this.#blob.pending.has(index)) {
      this.#fresh.drop(index);
      this.#dispatch({ type: 'held', index });
    } else this.#dispatch({ type: 'released', index });
    this.#waiters.wakeAll();
    if (this.#blob.complete) this.#end('complete');
  }

  #tick(): void {
    const now = performance.now();
    if (now - this.#progressMs > DOWNLOAD_GIVE_UP_MS) {
      const text = `nothing of ${this.digest} arrived for ${DOWNLOAD_GIVE_UP_MS} ms`;
      this.#fail(fetchError('UNAVAILABLE', text, this.digest), 'stalled');
      return;
    }
    this.#claim.readers(this.#cursors.size, now);
    const readers = this.#cursors.states(this.#blob.layout.chunkBytes, now);
    this.#fresh.sweep(now);
    this.#dispatch({ type: 'readers', readers });
    this.#dispatch({ type: 'tick' });
  }

  #fail(failure: Error, outcome: Outcome = 'failed'): void {
    if (this.#over) return;
    this.#failure = failure;
    const fields = { digest: this.digest, missing: this.#planner.missing };
    this.#modules.logger.warn({ ...fields, reason: messageOf(failure) }, 'download ended early');
    this.#modules.growth?.failing();
    this.#end(outcome);
  }

  #end(outcome: Outcome): void {
    if (this.#over) return;
    this.#over = true;
    for (const controller of this.#requests.values()) controller.abort(fetchClosed());
    this.#peers.close();
    this.#fresh.clear();
    this.#holds.dispose();
    const { metrics, logger } = this.#modules;
    const seconds = (performance.now() - this.#startMs) / 1000;
    metrics.inFlight.dec();
    metrics.downloads.inc({ outcome });
    if (outcome === 'complete') {
      metrics.downloadSeconds.observe({ size_bucket: sizeBucket(this.size) }, seconds);
      logger.info({ digest: this.digest, size: this.size, seconds }, 'download complete');
    }
    this.#waiters.wakeAll();
    this.#ending.resolve();
  }
}

/** Looked up for each chunk: what it is checked against may still change. */
function proofOf(blob: StoredBlob, session: Growth['session'] | undefined): ChunkProof {
  return {
    digest: blob.digest,
    layout: blob.layout,
    session,
    get hashes() {
      return blob.hashes;
    },
  };
}

function isStoreFailure(err: Error): boolean {
  return 'code' in err && STORE_CODES.includes(String(err.code));
}
