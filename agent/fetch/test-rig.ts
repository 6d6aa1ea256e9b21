// Several agents' stores and downloads in one process, connected by fakes of the ports of this
// room.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chunkRange } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { sleep } from '../../proto/std/abort.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';
import { FsContentStore } from '../store/content-store.ts';
import { createStoreMetrics } from '../store/metrics.ts';
import { Downloads } from './downloads.ts';
import { GrantBook } from './grants.ts';
import { createFetchMetrics } from './metrics.ts';
import type { StoredBlob } from '../store/port.ts';
import type {
  CallOptions,
  ChunkRequest,
  FleetClient,
  HubSource,
  OpenRequest,
  PeerLink,
  Swarm,
} from './ports.ts';
import { memberOf } from './swarm-fixture.ts';
import { FLEET_ID, REPOSITORY, TestHub, failure } from './test-hub.ts';

/** How an agent treats those who ask it for chunks. */
export type Manners = 'honest' | 'lies' | 'stalls' | 'gone';

/** One agent: real store and downloads; swarm and fleet are fakes that call the other agents. */
export class TestAgent {
  readonly peerId: string;
  readonly dataDir: string;
  readonly registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  readonly bans: { peerId: string; reason: string }[] = [];
  readonly store: FsContentStore;
  readonly downloads: Downloads;
  readonly metrics: ReturnType<typeof createFetchMetrics>;
  manners: Manners = 'honest';
  readonly #fleet: TestFleet;

  constructor(
    options: { peerId: string; dataDir: string; upstream?: HubSource | undefined },
    store: FsContentStore,
    fleet: TestFleet,
    metrics: MetricsRegistry,
  ) {
    this.peerId = options.peerId;
    this.dataDir = options.dataDir;
    this.store = store;
    this.#fleet = fleet;
    this.registry = metrics;
    this.metrics = createFetchMetrics(metrics);
    const { hub, logger } = fleet;
    const swarm = this.#swarm();
    const client: FleetClient = {
      announce: (items) => hub.announce(this.peerId, items),
      requestGrant: async (_namespace, repository) => {
        await sleep(1);
        if (hub.down) throw failure('HUB_UNREACHABLE');
        return hub.grant(repository);
      },
      get online() {
        return !hub.down;
      },
      trust: hub.trust(),
      fleetId: FLEET_ID,
    };
    const grants = new GrantBook({}, { fleet: client, swarm, logger });
    this.grants = grants;
    this.downloads = new Downloads(
      {},
      {
        store,
        swarm,
        fleet: client,
        grants,
        hub,
        upstream: () => options.upstream,
        metrics: this.metrics,
        logger,
      },
    );
    this.downloads.start();
  }

  readonly grants: GrantBook;

  /** What the runtime would ask for. */
  async request(digest: Digest, namespace = HUB_NAMESPACE): Promise<OpenRequest> {
    const grant = await this.grants.ensure(namespace, REPOSITORY, digest, {});
    return { namespace, repository: REPOSITORY, digest, grant };
  }

  /** Pulls a range as a runtime does. */
  async pull(digest: Digest, range?: { start: number; end: number }): Promise<Buffer> {
    using handle = await this.downloads.open(await this.request(digest), {});
    const pieces: Buffer[] = [];
    for await (const bytes of handle.read(range ?? { start: 0, end: handle.size }, {})) {
      pieces.push(Buffer.from(bytes));
    }
    return Buffer.concat(pieces);
  }

  /** The value of one of our counters. */
  async count(name: string, label: string): Promise<number> {
    const text = await this.registry.text();
    const line = text.split('\n').find((l) => l.startsWith(`flotilla_agent_${name}{${label}}`));
    return Number(line?.split(' ').at(-1) ?? 0);
  }

  async close(): Promise<void> {
    await this.downloads.close();
    await this.store.close();
  }

  #swarm(): Swarm {
    const fleet = this.#fleet;
    const isBanned = (peerId: string): boolean => this.bans.some((ban) => ban.peerId === peerId);
    const other = (peerId: string): TestAgent => {
      const agent = fleet.agents.get(peerId);
      if (agent === undefined || agent.manners === 'gone') throw failure('UNREACHABLE');
      return agent;
    };
    return {
      peerId: this.peerId,
      zone: '',
      members: () => [...fleet.hub.members.values()].filter((m) => m.peerId !== this.peerId),
      link: async (member) => {
        await sleep(1);
        return linkTo(other(member.peerId), () => other(member.peerId));
      },
      transport: {
        name: 'test',
        // As if the buffer went to another chunk the moment it is given back.
        fetchChunk: async (peerId, request, o) => {
          const bytes = await other(peerId).serveChunk(request, o);
          return { bytes, [Symbol.dispose]: () => void bytes.fill(0xee) };
        },
      },
      ban: (peerId, reason) => this.bans.push({ peerId, reason }),
      isBanned,
    };
  }

  /** What peers see of a blob. */
  shown(digest: Digest, session: Buffer | undefined): StoredBlob | undefined {
    if (session === undefined) return this.store.find(digest);
    const growing = this.store.growing(digest);
    return growing?.session.equals(session) === true ? growing : undefined;
  }

  async serveChunk(request: ChunkRequest, o: CallOptions): Promise<Buffer> {
    await sleep(1, o);
    if (this.manners === 'stalls') await sleep(3_600_000, o);
    const blob = this.shown(request.digest, request.session);
    if (blob === undefined || !blob.have.has(request.index)) throw failure('NOT_FOUND');
    const bytes = Buffer.alloc(request.length);
    await blob.read(bytes, chunkRange(blob.layout, request.index).start);
    if (this.manners === 'lies') bytes[0] = (bytes[0] ?? 0) ^ 1;
    return bytes;
  }
}

function linkTo(agent: TestAgent, alive: () => TestAgent): PeerLink {
  return {
    peerId: agent.peerId,
    node: `node-${agent.peerId}`,
    get closed() {
      return agent.manners === 'gone';
    },
    openGrant: async () => {
      alive();
      return true;
    },
    have: async (digest, known, o) => {
      const blob = alive().shown(digest, known.session);
      if (blob === undefined) return undefined;
      if (blob.have.count === known.count) await sleep(Math.min(20, known.waitMs), o);
      const { size } = blob;
      const bitmap = blob.have.clone();
      return { size, chunkCount: bitmap.size, bitmap, complete: bitmap.complete };
    },
    hashes: async (digest) => alive().store.find(digest)?.hashes,
    statement: async (digest) => alive().store.find(digest)?.statement,
    blob: async (digest) => {
      const bytes = await alive().store.getSmall(digest);
      if (bytes !== undefined && agent.manners === 'lies') bytes[0] = (bytes[0] ?? 0) ^ 1;
      return bytes;
    },
    grant: async (namespace, repository, digest) =>
      alive().grants.publicGrant(namespace, repository, digest),
    tag: async () => undefined,
  };
}

/** A hub and agents, with their folders. */
export class TestFleet {
  readonly hub = new TestHub();
  readonly agents = new Map<string, TestAgent>();
  /** What the agents wrote into their logs. */
  readonly logged: Record<string, unknown>[] = [];
  readonly logger = createLogger(
    { level: 'warn', name: 'test' },
    { write: (line: string) => void this.logged.push(JSON.parse(line)) },
  );
  readonly #folders: string[] = [];
  #next = 0;

  async agent(
    options: {
      dataDir?: string;
      quotaBytes?: number;
      upstream?: HubSource;
      containerdContent?: string;
    } = {},
  ): Promise<TestAgent> {
    const peerId = `peer-${this.#next}`;
    this.#next += 1;
    const dataDir = options.dataDir ?? (await this.#folder());
    const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
    const store = await FsContentStore.open(
      {
        dataDir,
        quotaBytes: options.quotaBytes ?? 2 ** 32,
        containerdContent: options.containerdContent,
      },
      { logger: this.logger, metrics: createStoreMetrics(metrics) },
    );
    const { upstream } = options;
    const agent = new TestAgent({ peerId, dataDir, upstream }, store, this, metrics);
    this.agents.set(peerId, agent);
    this.hub.members.set(peerId, memberOf(peerId, FLEET_ID));
    return agent;
  }

  async close(): Promise<void> {
    await Promise.all([...this.agents.values()].map((agent) => agent.close()));
    const removals = this.#folders.map((path) => rm(path, { recursive: true, force: true }));
    await Promise.all(removals);
  }

  async #folder(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'flotilla-fetch-'));
    this.#folders.push(path);
    return path;
  }
}
