import type { Connection, Libp2p, PrivateKey } from '@libp2p/interface';
import type { Logger } from '../../proto/ops/logger.ts';
import { parseListen } from '../../proto/ops/listen.ts';
import { deadline } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import {
  EXCHANGE_PROTOCOL,
  HELLO_PROTOCOL,
  STREAMS_PER_PEER_MAX,
} from '../../proto/swarm/constants.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import type { BanReason, CallOptions, ChunkBytes, ChunkTransport, Swarm } from '../fetch/ports.ts';
import type { MemberDirectory } from '../fleet/member-book.ts';
import type { SwarmPorts } from '../fleet/registration.ts';
import { Admission } from './admission.ts';
import { BanBook } from './bans.ts';
import { BulkTransport } from './bulk-transport.ts';
import { ChunkBuffers, ownBytes } from './chunk-buffers.ts';
import { BODY_STALL_TIMEOUT_MS, LINK_SWEEP_MS } from './constants.ts';
import type { ContentReader } from './content-reader.ts';
import { PeerError } from './errors.ts';
import type { Relay } from './exchange-handlers.ts';
import { serveExchange, type ServerModules } from './exchange-server.ts';
import { createGater } from './gater.ts';
import { GrantTable } from './grant-table.ts';
import { HelloProtocol } from './hello.ts';
import { LANE_PROBE_MS } from './lane/constants.ts';
import { Lanes } from './lane/lanes.ts';
import { Links } from './links.ts';
import { createLibp2pNode, portOf } from './libp2p-node.ts';
import type { CountRefusals, SwarmMetrics } from './metrics.ts';
import { createMuxerGuard } from './muxer-guard.ts';
import type { Libp2pPeerLink } from './peer-link.ts';
import { UploadSlots } from './upload-slots.ts';

export type SwarmNodeOptions = {
  privateKey: PrivateKey;
  /** As in the configuration: `0.0.0.0:7412`, `[::]:7412`. */
  listen: readonly string[];
  /** 0: any free port; undefined: no lanes to this node. */
  lanePort: number | undefined;
  connectionsMax: number;
  uploads: number;
  /** What all uploads together may take of the link; undefined: all of it. */
  uploadRate?: RateBudget | undefined;
  build: string;
  /** Newest version of the exchange to speak; default SWARM_VERSION_MAX. */
  versionMax?: number;
  /** Longest silence while a chunk body is awaited; default BODY_STALL_TIMEOUT_MS. */
  bodyStallMs?: number;
  /** Milliseconds since 1970, for what is valid until then; default the clock. */
  now?: () => number;
  /** Milliseconds that no change of the clock moves, for waits; default performance.now. */
  steadyNow?: () => number;
};

export type SwarmNodeModules = {
  members: MemberDirectory;
  trust: TrustStore;
  fleetId: () => string;
  /** How long grants and memberships outlive their end now: 0 while the hub answers. */
  graceMs: () => number;
  content: ContentReader;
  relay: Relay;
  /** Makes the metrics over the live numbers of this swarm. */
  metrics: (live: LiveCounts) => SwarmMetrics;
  logger: Logger;
};

export type LiveCounts = () => {
  admitted: number;
  unadmitted: number;
  peers: number;
  uploads: number;
  lanesIn: number;
  lanesOut: number;
};

/** The libp2p host of this agent with the chunk server and the links to other agents. */
export class SwarmNode implements Swarm {
  readonly peerId: string;
  readonly transport: ChunkTransport;
  /** The libp2p way alone, for tests and for peers without a lane. */
  readonly streams: ChunkTransport;
  readonly #node: Libp2p;
  readonly #admission: Admission;
  readonly #bans: BanBook;
  readonly #grants: GrantTable;
  readonly #uploads: UploadSlots;
  readonly #hello: HelloProtocol;
  readonly #metrics: SwarmMetrics;
  #lanes: Lanes | undefined;
  readonly #modules: SwarmNodeModules;
  readonly #bodyStallMs: number;
  readonly #now: () => number;
  readonly #steadyNow: () => number;
  readonly #configuredPort: number;
  readonly #links: Links;
  readonly #stopped = new AbortController();

  private constructor(parts: {
    node: Libp2p;
    admission: Admission;
    bans: BanBook;
    options: SwarmNodeOptions;
    modules: SwarmNodeModules;
  }) {
    const { node, admission, bans, options, modules } = parts;
    this.#node = node;
    this.#admission = admission;
    this.#bans = bans;
    this.#modules = modules;
    this.#bodyStallMs = options.bodyStallMs ?? BODY_STALL_TIMEOUT_MS;
    this.peerId = node.peerId.toString();
    this.#uploads = new UploadSlots({ uploads: options.uploads, rate: options.uploadRate });
    const now = options.now ?? Date.now;
    const steadyNow = options.steadyNow ?? (() => performance.now());
    this.#now = now;
    this.#steadyNow = steadyNow;
    this.#configuredPort = options.listen.map(parseListen).find(({ port }) => port > 0)?.port ?? 0;
    this.#grants = new GrantTable({ now, graceMs: modules.graceMs }, modules);
    this.#metrics = modules.metrics(() => ({
      ...admission.counts,
      peers: admission.peers().size,
      uploads: this.#uploads.inUse,
      ...(this.#lanes?.counts ?? { lanesIn: 0, lanesOut: 0 }),
    }));
    const { metrics, logger, members } = { ...modules, metrics: this.#metrics };
    this.#hello = new HelloProtocol(options, { admission, members, metrics, logger });
    this.#links = new Links(
      { bodyStallMs: this.#bodyStallMs, steadyNow, stopped: this.#stopped.signal },
      {
        ...modules,
        node,
        admission,
        hello: this.#hello,
        memberOf: (peerId) => this.#memberOf(peerId),
        ban: (peerId, reason, detail) => this.ban(peerId, reason, detail),
        isBanned: (peerId) => this.isBanned(peerId),
        questionLane: (peerId) => this.#lanes?.forQuestion(this.#memberOf(peerId)),
        metrics,
      },
    );
    this.streams = {
      name: 'libp2p-stream',
      fetchChunk: (peerId, request, o) => this.#fetchOverStream(peerId, request, o),
    };
    this.transport = new BulkTransport({
      lanes: {
        pick: (member) => this.#lanes?.pick(member),
        silent: (peerId, lane) => this.#lanes?.silent(peerId, lane),
      },
      streams: this.streams,
      memberOf: (peerId) => this.#memberOf(peerId),
      metrics: this.#metrics,
    });
  }

  /** Starts the host. Throws the errors of libp2p when an address cannot be listened on. */
  static async start(options: SwarmNodeOptions, modules: SwarmNodeModules): Promise<SwarmNode> {
    const bans = new BanBook(options);
    let swarm: SwarmNode | undefined;
    const refused: CountRefusals = (reason, count) => {
      if (swarm !== undefined) swarm.#metrics.refused.inc({ reason }, count);
    };
    const guard = createMuxerGuard({ refused });
    const { members, logger } = modules;
    const admission = new Admission({ members, bans, guard, refused, logger });
    const gater = createGater({ admission, members, bans, refused });
    const listen = options.listen.map(parseListen);
    const node = await createLibp2pNode({ ...options, listen }, { gater, guard });
    swarm = new SwarmNode({ node, admission, bans, options, modules });
    try {
      await swarm.#start(options);
    } catch (err) {
      await swarm.close();
      throw err;
    }
    return swarm;
  }

  /** The port of the listener, which belongs into the membership. */
  get port(): number {
    return this.#configuredPort || (portOf(this.#node) ?? 0);
  }

  /** What the fleet client needs to know of this swarm. */
  get presence(): SwarmPorts & { excluded: (peerId: string) => boolean } {
    const excluded = (peerId: string): boolean => this.isBanned(peerId);
    return { libp2pPort: this.port, lanePort: this.lanePort, excluded };
  }

  /** The port of the lane, which belongs into the membership; 0 without one. */
  get lanePort(): number {
    return this.#lanes?.port ?? 0;
  }

  get zone(): string {
    return this.#modules.members.own?.membership.zone ?? '';
  }

  members(): readonly Membership[] {
    return this.#modules.members.list().filter((member) => !this.#bans.isBanned(member.peerId));
  }

  link(member: Membership, o: CallOptions): Promise<Libp2pPeerLink> {
    return this.#links.to(member.peerId, o);
  }

  ban(peerId: string, reason: BanReason, detail: object): void {
    const again = this.#bans.isBanned(peerId);
    const durationMs = this.#bans.ban(peerId, reason);
    const node = this.#modules.members.get(peerId)?.membership.node;
    if (!again) {
      this.#metrics.banned.inc({ reason });
      this.#modules.logger.warn(
        { node, peerId, reason, detail, durationMs },
        'peer banned, connections cut; its node is faulty or taken over',
      );
    }
    this.#links.cut(peerId);
    this.#admission.cut(peerId, new Error('banned'));
    this.#lanes?.cut(peerId);
  }

  isBanned(peerId: string): boolean {
    return this.#bans.isBanned(peerId);
  }

  /** Closes the links nobody used for LINK_IDLE_MS, and connections that carry nothing. */
  closeIdle(): void {
    this.#links.closeIdle();
    this.#admission.closeUnused();
    this.#uploads.rest();
    void this.#lanes?.tend();
  }

  /** Closes all connections and the listener. */
  async close(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort(new PeerError('The swarm is stopped.', { code: 'STOPPED' }));
    this.#links.close();
    this.#admission.cutAll(new Error('stopping'));
    this.#lanes?.close();
    await this.#node.stop();
  }

  async #start(options: SwarmNodeOptions): Promise<void> {
    const node = this.#node;
    const { members } = this.#modules;
    const server: ServerModules = {
      ...this.#modules,
      now: this.#now,
      grants: this.#grants,
      admission: this.#admission,
      uploads: this.#uploads,
      metrics: this.#metrics,
      ban: (peerId, reason, detail) => this.ban(peerId, reason, detail),
    };
    node.addEventListener('connection:open', (event) => this.#admission.opened(event.detail));
    node.addEventListener('connection:close', (event) => this.#onClose(event.detail));
    const watch = members.onChange(() => {
      this.#admission.sweep();
      this.#lanes?.sweep();
    });
    const sweeper = setInterval(() => this.closeIdle(), LINK_SWEEP_MS);
    this.#stopped.signal.addEventListener('abort', () => {
      watch[Symbol.dispose]();
      clearInterval(sweeper);
    });
    await node.handle(HELLO_PROTOCOL, (stream, conn) => this.#hello.answer(stream, conn), {
      maxInboundStreams: 1,
      maxOutboundStreams: 1,
    });
    await node.handle(EXCHANGE_PROTOCOL, (stream, conn) => serveExchange(stream, conn, server), {
      maxInboundStreams: STREAMS_PER_PEER_MAX,
      maxOutboundStreams: STREAMS_PER_PEER_MAX,
    });
    await node.start();
    const { privateKey, lanePort, listen } = options;
    const clocks = { now: this.#now, steadyNow: this.#steadyNow };
    this.#lanes = await Lanes.start(
      { privateKey, listen, lanePort, stallMs: this.#bodyStallMs, ...clocks },
      {
        ...server,
        admitted: (peerId) => this.#admitted(peerId),
        buffers: new ChunkBuffers(),
        answers: (peerId) => this.#answers(peerId),
      },
    );
  }

  /** Whether a peer answers a small question in time, whatever the answer. */
  async #answers(peerId: string): Promise<boolean> {
    using limit = deadline(LANE_PROBE_MS, this.#stopped.signal);
    try {
      const link = await this.link(this.#memberOf(peerId), limit);
      await link.peers(0, limit);
      return true;
    } catch (err) {
      return hasCode(err, 'BUSY');
    }
  }

  #admitted(peerId: string): Membership | undefined {
    const connection = this.#admission.connectionTo(peerId);
    return connection && this.#admission.membershipOf(connection);
  }

  #onClose(connection: Connection): void {
    this.#admission.closed(connection);
    const peerId = connection.remotePeer.toString();
    this.#links.lost(peerId);
    if (this.#node.getConnections(connection.remotePeer).length > 0) return;
    this.#grants.drop(peerId);
    this.#lanes?.left(peerId);
    // libp2p remembers every peer id it ever met; what we know of peers is in the member book.
    this.#node.peerStore.delete(connection.remotePeer).catch(() => {});
  }

  #memberOf(peerId: string): Membership {
    this.#stopped.signal.throwIfAborted();
    if (this.#bans.isBanned(peerId)) {
      throw new PeerError('The peer is banned.', { code: 'BANNED', peerId });
    }
    const record = this.#modules.members.get(peerId);
    if (record) return record.membership;
    throw new PeerError('No valid membership of this peer is known.', {
      code: 'NOT_A_MEMBER',
      peerId,
    });
  }

  async #fetchOverStream(
    peerId: string,
    request: Parameters<ChunkTransport['fetchChunk']>[1],
    o: CallOptions,
  ): Promise<ChunkBytes> {
    const link = await this.link(this.#memberOf(peerId), o);
    return ownBytes(await link.chunk(request, o));
  }
}
