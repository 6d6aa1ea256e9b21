import { randomUUID } from 'node:crypto';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline, sleep } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Incarnation } from '../../proto/trust/replica-call.ts';
import {
  HEARTBEAT_MS,
  HEARTBEAT_TIMEOUT_MS,
  JOIN_RETRY_MS,
  REFRESH_SPACING_MS,
  REPLICAS_MAX,
  SETTLE_LOOK_MS,
} from './constants.ts';
import type { ReplicaMetrics } from './metrics.ts';
import type { Clocks, Ownership } from './ownership.ts';
import type { ReplicaSnapshot, ReplicaStore } from './store.ts';
import { Watch } from './watch.ts';

type HeartbeatOptions = {
  id: string;
  /** Where others reach this replica. */
  url: string;
  clocks: Clocks;
  /** Called when a replica came or went. */
  onView: () => void;
};

type HeartbeatModules = {
  ownership: Ownership;
  store: ReplicaStore;
  metrics: Pick<ReplicaMetrics, 'heartbeats' | 'evictions'>;
  logger: Logger;
};

/** Keeps this replica in, and takes out those that have fallen silent. */
export class Heartbeats {
  readonly #url: string;
  readonly #clocks: Clocks;
  readonly #onView: () => void;
  readonly #modules: HeartbeatModules;
  readonly #stop = new AbortController();
  readonly #watch = new Watch();
  #id: string;
  /** Ends the pause before the next heartbeat. */
  #nudge = new AbortController();
  #running: Promise<void> | undefined;
  /** The last run of this hub that the catalog was asked to let in; undefined when it did not. */
  #entering: Promise<Incarnation | undefined> = Promise.resolve(undefined);
  /** The look that calls of others wait for. */
  #look = Promise.withResolvers<void>();
  #isLooking = false;
  #wasOwner = false;

  constructor(options: HeartbeatOptions, modules: HeartbeatModules) {
    this.#id = options.id;
    this.#url = options.url;
    this.#clocks = options.clocks;
    this.#onView = options.onView;
    this.#modules = modules;
  }

  /** Comes in and stays in until `leave`. Throws errors of the store when it cannot come in. */
  async start(): Promise<void> {
    await this.#join();
    this.#running = this.#run();
  }

  /** Resolves after a look at the replicas that began no earlier than now. */
  async refresh(options: { signal: AbortSignal }): Promise<void> {
    if (this.#isLooking) await this.#nextLook(options.signal);
    await this.#nextLook(options.signal);
  }

  /** Owns nothing from now on and tells the others. */
  async leave(): Promise<void> {
    const { ownership, store, logger } = this.#modules;
    ownership.stop();
    this.#stop.abort(new Error('this hub leaves'));
    await this.#running;
    try {
      using limit = deadline(HEARTBEAT_TIMEOUT_MS);
      // The catalog may let it in although nobody waits for that any more.
      const self = await abortable(this.#entering, limit.signal);
      if (self === undefined) return;
      this.#entering = Promise.resolve(undefined);
      await abortable(store.leave(self), limit.signal);
    } catch (err) {
      logger.warn({ reason: messageOf(err) }, 'other hubs will find by themselves that this left');
    }
  }

  #nextLook(signal: AbortSignal): Promise<void> {
    this.#nudge.abort(new Error('a look is wanted'));
    return abortable(this.#look.promise, signal);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#isLooking = true;
      // oxlint-disable-next-line no-await-in-loop -- one heartbeat after the other
      const pauseMs = await this.#beat();
      this.#isLooking = false;
      const looked = this.#look;
      this.#look = Promise.withResolvers<void>();
      looked.resolve();
      // oxlint-disable-next-line no-await-in-loop -- one heartbeat after the other
      await this.#pause(pauseMs);
    }
  }

  async #pause(pauseMs: number): Promise<void> {
    const spacingMs = Math.min(pauseMs, REFRESH_SPACING_MS);
    const { signal } = this.#stop;
    this.#nudge = new AbortController();
    try {
      await sleep(spacingMs, { signal });
      await sleep(pauseMs - spacingMs, { signal: AbortSignal.any([signal, this.#nudge.signal]) });
    } catch {
      // It stops, or a look is wanted now.
    }
  }

  /** One heartbeat; how long to wait before the next one. */
  async #beat(): Promise<number> {
    const { ownership, metrics, logger } = this.#modules;
    try {
      if (ownership.self === undefined) await this.#join();
      const news = await this.#tell();
      metrics.heartbeats.inc({ result: 'ok' });
      this.#report();
      if (news) return 0;
      return ownership.isOwner ? HEARTBEAT_MS : SETTLE_LOOK_MS;
    } catch (err) {
      metrics.heartbeats.inc({ result: 'failed' });
      this.#report();
      logger.warn({ reason: messageOf(err) }, 'this hub could not give a heartbeat');
      return ownership.self === undefined ? JOIN_RETRY_MS : HEARTBEAT_MS;
    }
  }

  async #join(): Promise<void> {
    const { ownership, store } = this.#modules;
    const id = this.#id;
    using limit = deadline(HEARTBEAT_TIMEOUT_MS, this.#stop.signal);
    const joining = store.join({ id, url: this.#url }, { max: REPLICAS_MAX - 1 });
    this.#entering = joining.then(
      (joined) => (joined === undefined ? undefined : { id, joined }),
      () => undefined,
    );
    const joined = await abortable(joining, limit.signal);
    if (joined === undefined) {
      throw new Error(`${REPLICAS_MAX} hubs share this catalog already; one has to go first`);
    }
    ownership.joined({ id, joined });
  }

  /** Tells that it lives and by which view it acts; true when there is more to tell at once. */
  async #tell(): Promise<boolean> {
    const { ownership, store, logger } = this.#modules;
    const { self, seen } = ownership;
    if (self === undefined) return false;
    const beganMs = this.#clocks.fast();
    using limit = deadline(HEARTBEAT_TIMEOUT_MS, this.#stop.signal);
    const snapshot = await abortable(store.beat({ ...self, seen }), limit.signal);
    if (ownership.took(snapshot, beganMs)) {
      await this.#evict(snapshot, self.id);
      if (ownership.seen === seen) return false;
      this.#onView();
      const replicas = snapshot.replicas.map(({ id, url }) => ({ id, url }));
      logger.info({ epoch: snapshot.epoch, replicas }, 'hubs on this catalog');
      return true;
    }
    const isTaken = snapshot.replicas.some(
      ({ id, joined }) => id === self.id && joined > self.joined,
    );
    if (isTaken) this.#id = randomUUID();
    logger.warn(
      { id: self.id, next: this.#id },
      isTaken
        ? 'another hub goes by the name of this one; give each a data folder of its own'
        : 'the catalog has this hub not, or not any more; it comes in again',
    );
    await this.#join();
    return true;
  }

  async #evict({ replicas }: ReplicaSnapshot, ownId: string): Promise<void> {
    const { ownership, store, metrics, logger } = this.#modules;
    const still = this.#watch.look(replicas, this.#clocks.steady());
    if (!ownership.isAlive) return;
    for (const { id, url, joined, beat } of still) {
      if (id === ownId) continue;
      using limit = deadline(HEARTBEAT_TIMEOUT_MS, this.#stop.signal);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const isOut = await abortable(store.evict({ id, joined, beat }), limit.signal);
      if (!isOut) continue;
      metrics.evictions.inc();
      logger.warn({ id, url }, 'a hub fell silent and is taken out; others own its blobs now');
    }
  }

  #report(): void {
    const { ownership, logger } = this.#modules;
    const { isOwner } = ownership;
    if (this.#wasOwner && !isOwner) {
      logger.warn('this hub owns no blobs now; agents go on with their peers');
    } else if (!this.#wasOwner && isOwner) logger.info('this hub owns its share of the blobs');
    this.#wasOwner = isOwner;
  }
}

/** Clocks of this machine. */
export function machineClocks(): Clocks {
  // The steady one stands still while the machine sleeps; the other goes on with the calendar.
  let steadyMs = performance.now();
  let wallMs = Date.now();
  let fastMs = 0;
  return {
    steady: () => performance.now(),
    fast: () => {
      const [steady, wall] = [performance.now(), Date.now()];
      fastMs += Math.max(steady - steadyMs, wall - wallMs);
      [steadyMs, wallMs] = [steady, wall];
      return fastMs;
    },
  };
}
