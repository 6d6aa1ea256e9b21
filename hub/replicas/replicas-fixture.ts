import type { TestContext } from 'node:test';
import { fastify, type FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { LEAF_BYTES, layoutOf } from '../../proto/chunks/layout.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { LEASE_MS } from '../fleet/constants.ts';
import {
  Tracker,
  type AnnouncedBlob,
  type DeskAnswer,
  type TrackerDesk,
} from '../fleet/tracker.ts';
import { MemoryReplicaStore } from './memory-store.ts';
import { ownerAmong, standingOf } from './rendezvous.ts';
import { Replicas } from './replicas.ts';
import type { ReplicaSnapshot, ReplicaStore } from './store.ts';

export const SIZE = 10 * LEAF_BYTES;
export const CHUNKS = layoutOf(SIZE).chunkCount;

/** A blob as a member announces it that holds nothing of it yet. */
export function wish(digest: Digest, fields: Partial<AnnouncedBlob> = {}): AnnouncedBlob {
  const have = new ChunkBitmap(CHUNKS);
  const wishes = { hubChunksWanted: 4, bypassWanted: 2, crossingsWanted: [], leasable: true };
  return { digest, size: SIZE, have, ...wishes, ...fields };
}

/** Replicas of one fleet, each with an HTTP server of its own on loopback. */
export class TestReplicas {
  readonly store: ReplicaStore;
  readonly ring = KeyRing.create(Date.now());
  #known = KeyRing.fromPem(this.ring.toPem());
  readonly all: TestReplica[] = [];
  readonly #t: TestContext;
  /** Added to the clock of the calendar of all replicas. */
  readonly skew = new Map<string, number>();

  /** What is done with each before it can be reached. */
  readonly prepare: (replica: TestReplica) => Promise<void>;

  constructor(
    t: TestContext,
    options: { store?: ReplicaStore; prepare?: (replica: TestReplica) => Promise<void> } = {},
  ) {
    this.#t = t;
    this.prepare = options.prepare ?? (async () => undefined);
    this.store = options.store ?? new MemoryReplicaStore();
  }

  /** A key that is in the ring since a look at it. */
  verificationKey(keyId: string) {
    return this.#known.verificationKey('replica', keyId);
  }

  async lookAtKeys(): Promise<void> {
    this.#known = KeyRing.fromPem(this.ring.toPem());
  }

  /** Starts replicas of these names; resolves when each owns its share and leases it. */
  async start(...ids: string[]): Promise<TestReplica[]> {
    const started: TestReplica[] = [];
    for (const id of ids) {
      const replica = new TestReplica(id, this);
      // oxlint-disable-next-line no-await-in-loop -- they come one after the other
      await replica.listen();
      this.#t.after(() => replica.close());
      // oxlint-disable-next-line no-await-in-loop -- they come one after the other
      await replica.replicas.start();
      this.all.push(replica);
      started.push(replica);
    }
    await Promise.all(this.all.map((replica) => replica.owns(this.all.length)));
    for (const replica of this.all) replica.sleep(LEASE_MS);
    return started;
  }

  /** Digests that this replica owns when these are in. */
  digestsOf(id: string, count: number): Digest[] {
    const standing = this.all.map((replica) => standingOf(replica.id));
    const found: Digest[] = [];
    for (let i = 0; found.length < count; i += 1) {
      const digest = digestOf(Buffer.from(`blob ${i}`));
      if (ownerAmong(standing, digest)?.id === id) found.push(digest);
    }
    return found;
  }
}

/** A replica's way to the catalog, which can be cut. */
class CatalogLine implements ReplicaStore {
  /** Whether heartbeats reach the catalog; otherwise they fail. */
  isCut = false;
  store: ReplicaStore;

  constructor(store: ReplicaStore) {
    this.store = store;
  }

  join(...ask: Parameters<ReplicaStore['join']>): Promise<number | undefined> {
    return this.#through(() => this.store.join(...ask));
  }

  beat(...ask: Parameters<ReplicaStore['beat']>): Promise<ReplicaSnapshot> {
    return this.#through(() => this.store.beat(...ask));
  }

  evict(...ask: Parameters<ReplicaStore['evict']>): Promise<boolean> {
    return this.#through(() => this.store.evict(...ask));
  }

  leave(...ask: Parameters<ReplicaStore['leave']>): Promise<void> {
    return this.#through(() => this.store.leave(...ask));
  }

  async #through<T>(call: () => Promise<T>): Promise<T> {
    if (this.isCut) throw new Error('the catalog does not answer');
    return call();
  }
}

export class TestReplica {
  readonly id: string;
  readonly app: FastifyInstance = fastify({ forceCloseConnections: true });
  readonly tracker = new Tracker({ random: () => 0.5 });
  readonly metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  /** Certificates of the members that this replica knows. */
  readonly members = new Map<string, string | undefined>();
  /** Blobs on their way to it, by repository and digest. */
  readonly coming = new Map<string, { size: number; received: number }>();
  readonly line: CatalogLine;
  readonly #fleet: TestReplicas;
  #replicas: Replicas | undefined;
  #desk: TrackerDesk | undefined;
  #sleptMs = 0;
  #agedMs = 0;

  constructor(id: string, fleet: TestReplicas) {
    this.id = id;
    this.#fleet = fleet;
    this.line = new CatalogLine(fleet.store);
  }

  get replicas(): Replicas {
    if (this.#replicas === undefined) throw new Error(`${this.id} does not listen`);
    return this.#replicas;
  }

  get url(): string {
    const address = this.app.server.address();
    if (address === null || typeof address === 'string') throw new Error('no address');
    return `http://127.0.0.1:${address.port}`;
  }

  /** Time passes at once for what is seen of others: their leases and their heartbeats. */
  sleep(ms: number): void {
    this.#sleptMs += ms;
  }

  /** Time passes at once for its own heartbeats. */
  age(ms: number): void {
    this.#agedMs += ms;
  }

  async listen(): Promise<void> {
    const { ring, skew } = this.#fleet;
    const probe = fastify();
    const url = await probe.listen({ host: '127.0.0.1', port: 0 });
    await probe.close();
    const clocks = {
      fast: () => performance.now() + this.#agedMs,
      steady: () => performance.now() + this.#sleptMs,
    };
    const now = (): number => Date.now() + (skew.get(this.id) ?? 0);
    const logger = pino({ level: 'silent' });
    const options = { id: this.id, url, clocks, now };
    const replicas = new Replicas(options, {
      store: this.line,
      metrics: this.metrics,
      logger,
    });
    this.#desk = replicas.deskOf({
      tracker: this.tracker,
      members: {
        certificateOf: (peerId) => this.members.get(peerId),
        knows: (peerId) => this.members.has(peerId),
      },
      coming: (repository, digest) => this.coming.get(`${repository} ${digest}`),
      keys: {
        current: () => ring.signingKey('replica'),
        find: (keyId) => this.#fleet.verificationKey(keyId),
        look: () => this.#fleet.lookAtKeys(),
      },
    });
    this.#replicas = replicas;
    await this.#fleet.prepare(this);
    replicas.routes(this.app);
    await this.app.listen({ host: '127.0.0.1', port: Number(new URL(url).port) });
  }

  /** A member of this replica announces; its answer. */
  async announce(
    peerId: string,
    blobs: readonly AnnouncedBlob[],
    { full = false, zone = '' }: { full?: boolean; zone?: string } = {},
  ): Promise<DeskAnswer> {
    if (!this.members.has(peerId)) {
      this.members.set(peerId, Buffer.from(`certificate of ${peerId}`).toString('base64'));
    }
    const announcement = { peerId, zone, full, blobs };
    if (this.#desk === undefined) throw new Error(`${this.id} does not listen`);
    return await this.#desk.announce(announcement, Date.now());
  }

  /** Value of a counter or gauge, summed over its label sets that contain `labels`. */
  async metric(name: string, labels: Record<string, string> = {}): Promise<number> {
    const metric = await this.metrics.registry.getSingleMetric(`flotilla_hub_${name}`)?.get();
    const values = metric?.values.filter((value) =>
      Object.entries(labels).every(([key, wanted]) => String(value.labels[key]) === wanted),
    );
    return values?.reduce((sum, { value }) => sum + value, 0) ?? Number.NaN;
  }

  /** Resolves when it is one of so many and owns its share. */
  async owns(count: number): Promise<void> {
    while (
      (await this.metric('replicas_owner')) !== 1 ||
      (await this.metric('replicas_alive')) !== count
    ) {
      // oxlint-disable-next-line no-await-in-loop -- until it is so
      await this.replicas.refresh();
    }
  }

  async close(): Promise<void> {
    await this.#replicas?.close();
    await this.app.close();
  }
}
