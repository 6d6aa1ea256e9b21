import type {
  PrefetchReport,
  PrefetchRequest,
  PrefetchResponse,
  PrefetchTask,
} from '../../proto/hubapi/prefetch.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { PrefetchDesk } from '../fleet/prefetch-desk.ts';
import {
  CALL_INTERVAL_MAX_MS,
  CALL_INTERVAL_MS,
  CALL_INTERVAL_PER_MEMBER_MS,
  COPY_CHECK_MS,
  WORK_LOOK_MS,
} from './constants.ts';
import type { PrefetchMetrics } from './metrics.ts';
import type { OrderFleet, OrderRights } from './ports.ts';
import type { NodeReport, NodeRow, Order, PrefetchStore } from './store.ts';

type Work = { order: Order; row: NodeRow };
type Caller = { node: string; peerId: string };

type DeskModules = {
  store: PrefetchStore;
  rights: OrderRights;
  fleet: OrderFleet;
  metrics: PrefetchMetrics;
  logger: Logger;
};

const NO_RIGHT = 'who ordered it may not read it any more';

/** Where agents hear what they are to fetch, and tell how far they are. */
export class AgentDesk implements PrefetchDesk {
  readonly #options: { grantLifeMs: number; now: () => number };
  readonly #modules: DeskModules;
  #waiting: ReadonlySet<string> = new Set();
  #lookedMs = -Infinity;
  #looking: Promise<void> | undefined;

  /** `grantLifeMs`: what the fleet gives grants for. */
  constructor(options: { grantLifeMs: number; now: () => number }, modules: DeskModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Orders were changed here: who has work is looked up anew. */
  changed(): void {
    this.#lookedMs = -Infinity;
  }

  async hasWork(node: string): Promise<boolean> {
    if (performance.now() - this.#lookedMs > WORK_LOOK_MS) {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
      });
      await this.#looking;
    }
    return this.#waiting.has(node);
  }

  async answer(caller: Caller, request: PrefetchRequest): Promise<PrefetchResponse> {
    const { store } = this.#modules;
    const { node } = caller;
    const nowMs = this.#options.now();
    const work = (await store.workOf(node)).filter(({ order }) => order.expiresAtMs > nowMs);
    const wanted = new Map(work.map((one) => [one.order.id, one]));
    const reports: NodeReport[] = [];
    const stop: string[] = [];
    for (const report of request.reports) {
      const one = wanted.get(report.id);
      // oxlint-disable-next-line no-await-in-loop -- a few reports, rights out of memory
      const isLost = one !== undefined && !(await this.#mayRead(one.order));
      const ends = report.state === 'running' && (one === undefined || isLost);
      if (ends) stop.push(report.id);
      if (one !== undefined) reports.push(ends ? refusalOf(report.id) : reportOf(report));
    }
    await store.report(node, reports, nowMs);
    await this.#settle(reports, wanted);
    const told = new Set(request.reports.map(({ id }) => id));
    const task = request.ready ? await this.#next(caller, work, told) : undefined;
    const renewed = request.renew === undefined ? undefined : wanted.get(request.renew)?.order;
    const rights = renewed && !stop.includes(renewed.id) && (await this.#rightsOf(caller, renewed));
    return {
      intervalMs: this.#intervalMs(),
      stop,
      ...(task === undefined ? {} : { task }),
      ...(rights === undefined || rights === false ? {} : { rights }),
    };
  }

  async #look(): Promise<void> {
    try {
      this.#waiting = await this.#modules.store.waiting(this.#options.now() - COPY_CHECK_MS);
    } catch (err) {
      const { logger } = this.#modules;
      logger.debug({ reason: messageOf(err) }, 'which nodes have work was not looked up');
    }
    this.#lookedMs = performance.now();
  }

  #mayRead({ subject, epoch, repository }: Order): Promise<boolean> {
    return this.#modules.rights.mayStillRead({ subject, epoch }, repository);
  }

  async #settle(reports: readonly NodeReport[], wanted: ReadonlyMap<string, Work>): Promise<void> {
    const { store, metrics, logger } = this.#modules;
    for (const { orderId, state, reason } of reports) {
      const one = wanted.get(orderId);
      if (one === undefined || state === 'running') continue;
      const { order, row } = one;
      if (row.state !== state) metrics.nodes.inc({ result: state });
      if (state === 'failed')
        logger.info({ order: orderId, node: row.node, reason }, 'not fetched');
      if (order.choice.copies !== undefined) continue;
      // oxlint-disable-next-line no-await-in-loop -- a few at the most
      const result = await store.endIfSettled(orderId, this.#options.now());
      if (result === undefined) continue;
      metrics.orders.inc({ result });
      logger.info({ order: orderId, repository: order.repository, result }, 'prefetch ended');
    }
    if (reports.some(({ state }) => state !== 'running')) this.changed();
  }

  /** The oldest order that wants something of this node; one without a right has failed. */
  async #next(
    caller: Caller,
    work: readonly Work[],
    told: ReadonlySet<string>,
  ): Promise<PrefetchTask | undefined> {
    const { store } = this.#modules;
    const nowMs = this.#options.now();
    for (const { order, row } of work) {
      if (told.has(order.id) || !isWanted(order, row, nowMs)) continue;
      // oxlint-disable-next-line no-await-in-loop -- the first that may be read
      if (!(await this.#mayRead(order))) {
        const refusal = [refusalOf(order.id)];
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await store.report(caller.node, refusal, nowMs);
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await this.#settle(refusal, new Map([[order.id, { order, row }]]));
        continue;
      }
      // oxlint-disable-next-line no-await-in-loop -- this one is it
      await store.begin(order.id, caller.node, nowMs);
      // oxlint-disable-next-line no-await-in-loop -- this one is it
      const rights = await this.#rightsOf(caller, order);
      const { id, repository, digest, platforms, expiresAtMs } = order;
      const expiresInMs = Math.max(0, expiresAtMs - nowMs);
      const task = { id, repository, digest, platforms: [...platforms], expiresInMs };
      return rights === undefined ? task : { ...task, rights };
    }
    return undefined;
  }

  async #rightsOf({ peerId }: Caller, order: Order): Promise<PrefetchTask['rights']> {
    const { rights, fleet } = this.#modules;
    const { repository, digest, subject, epoch } = order;
    const isPublic = await rights.isPublic(repository);
    const life = { lifeMs: this.#options.grantLifeMs };
    const token = isPublic ? undefined : await rights.lendFor({ subject, epoch }, repository, life);
    if (!isPublic && token === undefined) return undefined;
    const bundle = await fleet.orderedGrant({ repository, digest, peerId, token });
    if (bundle === undefined) return undefined;
    const { grant, digests } = bundle;
    const shown = token === undefined ? {} : { token };
    return { grant: grant.toString('base64'), digests: [...digests], ...shown };
  }

  #intervalMs(): number {
    const members = this.#modules.fleet.nodes().length;
    const wished = CALL_INTERVAL_MS + members * CALL_INTERVAL_PER_MEMBER_MS;
    return Math.min(wished, CALL_INTERVAL_MAX_MS);
  }
}

/** Of copies that are kept also whether they are still there. */
function isWanted({ choice }: Order, { state, seenAtMs = 0 }: NodeRow, nowMs: number): boolean {
  if (state === 'queued' || state === 'running') return true;
  return state === 'done' && choice.copies !== undefined && seenAtMs < nowMs - COPY_CHECK_MS;
}

function reportOf(report: PrefetchReport): NodeReport {
  const { id, state, doneBytes, totalBytes, reason = '' } = report;
  return { orderId: id, state, doneBytes, totalBytes, reason };
}

function refusalOf(orderId: string): NodeReport {
  return { orderId, state: 'failed', doneBytes: 0, totalBytes: 0, reason: NO_RIGHT };
}
