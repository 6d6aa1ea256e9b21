import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { deadline } from '../../proto/std/abort.ts';
import { isReplicaId } from '../../proto/trust/replica-call.ts';
import { LEASE_MS } from '../fleet/constants.ts';
import type { FleetPart } from '../fleet/fleet.ts';
import type { Tracker, TrackerDesk } from '../fleet/tracker.ts';
import { HEARTBEAT_TIMEOUT_MS } from './constants.ts';
import { ReplicaDesk } from './desk.ts';
import { Forwarder } from './forwarder.ts';
import { Heartbeats, machineClocks } from './heartbeats.ts';
import { createReplicaMetrics } from './metrics.ts';
import { Ownership, type Clocks } from './ownership.ts';
import { Receiver } from './receiver.ts';
import { ReplicaRoutes, type ReplicaRoute } from './routes.ts';
import type { ReplicaRow, ReplicaStore } from './store.ts';

export type ReplicasOptions = {
  /** Name of this hub, different from those of others and the same after a restart. */
  id: string;
  /** Where others reach this hub. */
  url: string;
  /** PEM of those who may sign the certificates of others. */
  ca?: string | undefined;
  clocks?: Clocks;
  /** Milliseconds since 1970. */
  now?: () => number;
};

export type ReplicasModules = {
  store: ReplicaStore;
  metrics: MetricsRegistry;
  logger: Logger;
};

/** This hub as one of several on one catalog. */
export class Replicas {
  readonly #options: ReplicasOptions;
  readonly #logger: Logger;
  readonly #ownership: Ownership;
  readonly #heartbeats: Heartbeats;
  readonly #metrics: ReturnType<typeof createReplicaMetrics>;
  #forwarder: Forwarder | undefined;
  #routes: ReplicaRoutes | undefined;
  #tracker: Pick<Tracker, 'trackers'> | undefined;
  readonly #others: ReplicaRoute[] = [];

  constructor(options: ReplicasOptions, modules: ReplicasModules) {
    const { store, logger } = modules;
    const clocks = options.clocks ?? machineClocks();
    this.#options = options;
    this.#logger = logger;
    const id = isReplicaId(options.id) ? options.id : randomUUID();
    this.#ownership = new Ownership({ leaseMs: LEASE_MS, clocks });
    this.#metrics = createReplicaMetrics(modules.metrics, {
      alive: () => this.#ownership.view?.replicas.length ?? 0,
      owner: () => this.#ownership.isOwner,
      epoch: () => this.#ownership.seen,
    });
    const { url } = options;
    this.#heartbeats = new Heartbeats(
      { id, url, clocks, onView: () => this.#viewed() },
      { ownership: this.#ownership, store, metrics: this.#metrics, logger },
    );
  }

  /** The desk at which agents of this hub are answered, over all replicas. */
  deskOf(fleet: FleetPart): TrackerDesk {
    const { tracker, members, coming, keys } = fleet;
    const { ca, now = Date.now } = this.#options;
    const [ownership, metrics, logger] = [this.#ownership, this.#metrics, this.#logger];
    const refresh = (): Promise<void> => this.refresh();
    const forwarder = new Forwarder({ ca, now }, { signingKey: () => keys.current(), metrics });
    const receiver = new Receiver({ now }, { ownership, tracker, members, coming, refresh });
    this.#tracker = tracker;
    this.#forwarder = forwarder;
    this.#routes = new ReplicaRoutes(
      { now },
      { ownership, receiver, refresh, keys, metrics, logger, others: this.#others },
    );
    return new ReplicaDesk(
      {},
      {
        ownership,
        tracker,
        forwarder,
        refresh: (options) => this.#heartbeats.refresh(options),
        certificateOf: members.certificateOf,
        metrics,
      },
    );
  }

  /** What blobs this hub owns, for rooms that share work with other hubs by that. */
  get ownership(): Pick<Ownership, 'partIn' | 'view' | 'self'> {
    return this.#ownership;
  }

  /** PEM of those who may sign the certificates of others. */
  get ca(): string | undefined {
    return this.#options.ca;
  }

  /** Authorization of a POST to another hub; undefined while this one is not in. */
  sign(to: ReplicaRow, path: string, body: Buffer): string | undefined {
    const { self: from } = this.#ownership;
    return from && this.#forwarder?.sign({ from, to }, path, body);
  }

  /** Another call that other hubs may make; before `routes`. */
  answerAt(route: ReplicaRoute): void {
    this.#others.push(route);
  }

  /** Adds the routes at which other hubs reach this one. */
  routes(app: FastifyInstance): void {
    this.#routes?.register(app);
  }

  /** Comes in; call it when this hub can be reached. Throws errors of the catalog. */
  start(): Promise<void> {
    return this.#heartbeats.start();
  }

  /** Resolves after a look at the replicas. Rejects when the catalog does not answer. */
  async refresh(): Promise<void> {
    using limit = deadline(HEARTBEAT_TIMEOUT_MS);
    await this.#heartbeats.refresh(limit);
  }

  /** Owns nothing any more, and tells the others. */
  leave(): Promise<void> {
    return this.#heartbeats.leave();
  }

  async close(): Promise<void> {
    await this.leave();
    await this.#forwarder?.close();
  }

  #viewed(): void {
    const replicas = this.#ownership.view?.replicas ?? [];
    if (this.#tracker !== undefined) this.#tracker.trackers = replicas.length;
    void this.#forwarder?.keep(new Set(replicas.map(({ url }) => url)));
  }
}
