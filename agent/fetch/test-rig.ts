// Several agents' stores and downloads in one process, connected by fakes of the ports of this room.
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { chunkRange, layoutOf } from '../../proto/chunks/layout.ts';
import { chunkHashesFromLeaves } from '../../proto/chunks/merkle.ts';
import { signStatement } from '../../proto/chunks/statement.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { sleep } from '../../proto/std/abort.ts';
import { CodedError } from '../../proto/std/errors.ts';
import { HUB_NAMESPACE, grantContentHash, signGrant } from '../../proto/trust/grant.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { FsContentStore } from '../store/content-store.ts';
import { createStoreMetrics } from '../store/metrics.ts';
import { Downloads } from './downloads.ts';
import { GrantBook } from './grants.ts';
import { createFetchMetrics } from './metrics.ts';
import type {
  AnnounceItem,
  AnnounceResult,
  CallOptions,
  FleetClient,
  HubSource,
  OpenRequest,
  PeerLink,
  Swarm,
} from './ports.ts';

export const FLEET_ID = 'test-fleet';
const LEASE_MS = 5_000;
const REPOSITORY = parseRepository('team/app');

export type TestBlob = { digest: Digest; bytes: Buffer; statement: Buffer; hashes: Buffer };

function failure(code: string): CodedError<{ code: string }> {
  return new CodedError(`test: ${code}`, { code });
}

/** The hub as a source of bytes, as tracker and as issuer of grants. */
export class TestHub implements HubSource {
  readonly kind: 'hub' | 'upstream' = 'hub';
  readonly keys = KeyRing.create(Date.now());
  readonly members = new Map<string, Membership>();
  /** Bytes that left the hub as chunks, streams or small blobs. */
  sentBytes = 0;
  down = false;
  /** Time a chunk takes. */
  chunkMs = 2;
  /** Whether it has statements; without them blobs pass through unverified. */
  states = true;
  /** Called with each chunk or piece before it is sent; may change it. */
  tamper: (bytes: Buffer, start: number) => Buffer = (bytes) => bytes;
  /** Bytes after which a stream breaks. */
  breakAfter = Number.POSITIVE_INFINITY;
  readonly #blobs = new Map<Digest, TestBlob>();
  readonly #leases = new Map<Digest, Map<number, number>>();
  readonly #held = new Map<Digest, Map<string, AnnounceItem>>();

  addBlob(size: number): TestBlob {
    const bytes = randomBytes(size);
    const hasher = new ContentHasher();
    hasher.update(bytes);
    const { digests, leaves, root } = hasher.finish();
    const digest = digests.sha256;
    const layout = layoutOf(size);
    const hashes = chunkHashesFromLeaves(leaves, layout);
    const key = this.keys.signingKey('statement');
    const statement =
      layout.chunkCount > 0 ? signStatement({ digest, size, root }, key) : Buffer.alloc(0);
    const blob = { digest, bytes, statement, hashes };
    this.#blobs.set(digest, blob);
    return blob;
  }

  trust(): TrustStore {
    const trust = new TrustStore({ rootFingerprint: this.keys.fingerprint() });
    trust.load(this.keys.bundle());
    return trust;
  }

  grant(repository: string): GrantBundle {
    const digests = [...this.#blobs.keys()];
    const now = Date.now();
    const manifestDigest = digestOf(Buffer.from(repository));
    const grant = signGrant(
      {
        fleetId: FLEET_ID,
        peerId: '',
        namespace: HUB_NAMESPACE,
        repository,
        manifestDigest,
        contentHash: grantContentHash(digests),
        issuedAtMs: now,
        notAfterMs: now + 20 * 60_000,
      },
      this.keys.signingKey('grant'),
    );
    return { grant, digests };
  }

  head(_repository: Repository, digest: Digest): Promise<{ size: number } | undefined> {
    return this.#answer(() => {
      const blob = this.#blobs.get(digest);
      return blob === undefined ? undefined : { size: blob.bytes.length };
    });
  }

  statement(_repository: Repository, digest: Digest): Promise<Buffer | undefined> {
    return this.#answer(() => {
      const statement = this.states ? this.#blobs.get(digest)?.statement : undefined;
      return statement?.length === 0 ? undefined : statement;
    });
  }

  hashes(_repository: Repository, digest: Digest): Promise<Buffer | undefined> {
    return this.#answer(() => (this.states ? this.#blobs.get(digest)?.hashes : undefined));
  }

  async chunk(
    _repository: Repository,
    digest: Digest,
    range: { start: number; end: number },
    o: CallOptions,
  ): Promise<Buffer> {
    await sleep(this.chunkMs, o);
    const bytes = await this.#answer(() =>
      this.#blobs.get(digest)?.bytes.subarray(range.start, range.end),
    );
    if (bytes === undefined) throw failure('HTTP_STATUS');
    this.sentBytes += bytes.length;
    return this.tamper(Buffer.from(bytes), range.start);
  }

  stream(
    _repository: Repository,
    digest: Digest,
    start: number,
  ): Promise<{ size: number; body: AsyncIterable<Buffer> } | undefined> {
    return this.#answer(() => {
      const blob = this.#blobs.get(digest);
      if (blob === undefined) return undefined;
      return { size: blob.bytes.length, body: this.#body(blob.bytes, start) };
    });
  }

  small(_repository: Repository, digest: Digest): Promise<Buffer | undefined> {
    return this.#answer(() => {
      const bytes = this.#blobs.get(digest)?.bytes;
      this.sentBytes += bytes?.length ?? 0;
      return bytes;
    });
  }

  /** The tracker: chunks nobody has or fetches are leased to whoever asks. */
  announce(from: string, items: AnnounceItem[]): Promise<AnnounceResult[]> {
    return this.#answer(() => items.map((item) => this.#track(from, item)));
  }

  /** As after a restart of the tracker. */
  forget(): void {
    this.#held.clear();
    this.#leases.clear();
  }

  /** Resolves when somebody has announced the blob. */
  async announced(digest: Digest): Promise<void> {
    while (!this.#held.has(digest)) await sleep(5);
  }

  #track(from: string, item: AnnounceItem): AnnounceResult {
    const held = this.#held.get(item.digest) ?? new Map<string, AnnounceItem>();
    this.#held.set(item.digest, held);
    const leases = this.#leases.get(item.digest) ?? new Map<number, number>();
    this.#leases.set(item.digest, leases);
    held.set(from, { ...item, have: item.have.clone() });
    const now = Date.now();
    const free: number[] = [];
    for (let index = 0; index < item.have.size; index += 1) {
      if ((leases.get(index) ?? 0) > now) continue;
      if (![...held.values()].some((other) => other.have.has(index))) free.push(index);
    }
    const cap = Math.min(64, Math.max(4, Math.ceil(free.length / (2 * held.size))));
    const hubChunks: number[] = [];
    while (hubChunks.length < Math.min(cap, item.hubChunksWanted) && free.length > 0) {
      const [index] = free.splice(Math.floor(Math.random() * free.length), 1);
      if (index === undefined) break;
      leases.set(index, now + LEASE_MS);
      hubChunks.push(index);
    }
    const peers = [...held.keys()].flatMap((peer) => {
      const member = this.members.get(peer);
      return peer === from || member === undefined ? [] : [member];
    });
    return { digest: item.digest, peers, hubChunks, retryAfterMs: 0 };
  }

  async *#body(bytes: Buffer, start: number): AsyncGenerator<Buffer> {
    const step = 256 * 1024;
    for (let at = start; at < bytes.length; at += step) {
      if (at - start >= this.breakAfter || this.down) throw failure('BODY_SHORT');
      await sleep(0);
      const piece = Buffer.from(bytes.subarray(at, at + step));
      this.sentBytes += piece.length;
      yield this.tamper(piece, at);
    }
  }

  async #answer<T>(value: () => T): Promise<T> {
    await sleep(1);
    if (this.down) throw failure('UNREACHABLE');
    return value();
  }
}

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
      members: () => [...fleet.hub.members.values()].filter((m) => m.peerId !== this.peerId),
      link: async (member) => {
        await sleep(1);
        return linkTo(other(member.peerId), () => other(member.peerId));
      },
      transport: {
        name: 'test',
        fetchChunk: (peerId, request, o) => other(peerId).serveChunk(request, o),
      },
      ban: (peerId, reason) => this.bans.push({ peerId, reason }),
      isBanned,
    };
  }

  async serveChunk(
    request: { digest: Digest; index: number; length: number },
    o: CallOptions,
  ): Promise<Buffer> {
    await sleep(1, o);
    if (this.manners === 'stalls') await sleep(3_600_000, o);
    const blob = this.store.find(request.digest);
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
      const { store } = alive();
      const blob = store.find(digest);
      if (blob === undefined) return undefined;
      if (blob.have.count === known.count) await sleep(Math.min(20, known.waitMs), o);
      const { size, complete } = blob;
      const bitmap = blob.have.clone();
      return { size, chunkCount: bitmap.size, bitmap, complete };
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
  };
}

/** A hub and agents, with their folders. */
export class TestFleet {
  readonly hub = new TestHub();
  readonly agents = new Map<string, TestAgent>();
  readonly logger = createLogger({ level: 'silent', name: 'test' });
  readonly #folders: string[] = [];
  #next = 0;

  async agent(
    options: { dataDir?: string; quotaBytes?: number; upstream?: HubSource } = {},
  ): Promise<TestAgent> {
    const peerId = `peer-${this.#next}`;
    this.#next += 1;
    const dataDir = options.dataDir ?? (await this.#folder());
    const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
    const store = await FsContentStore.open(
      { dataDir, quotaBytes: options.quotaBytes ?? 2 ** 32 },
      { logger: this.logger, metrics: createStoreMetrics(metrics) },
    );
    const { upstream } = options;
    const agent = new TestAgent({ peerId, dataDir, upstream }, store, this, metrics);
    this.agents.set(peerId, agent);
    this.hub.members.set(peerId, memberOf(peerId));
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

function memberOf(peerId: string): Membership {
  return {
    fleetId: FLEET_ID,
    peerId,
    node: `node-${peerId}`,
    zone: '',
    addresses: ['127.0.0.1'],
    libp2pPort: 1,
    lanePort: 0,
    serial: 1,
    notBeforeMs: 0,
    notAfterMs: Number.MAX_SAFE_INTEGER,
  };
}
