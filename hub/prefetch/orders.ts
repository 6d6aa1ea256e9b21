import { randomBytes } from 'node:crypto';
import { referenceText } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import {
  NODES_PAGE,
  ORDER_LIFE_MS,
  ORDER_NODES_MAX,
  ORDER_NODES_OWN_MAX,
  ORDERS_KEPT,
  ORDERS_OPEN_MAX,
  ORDERS_OWN_MAX,
  REACH_MS,
} from './constants.ts';
import { PrefetchError, unknown } from './errors.ts';
import { digestOfImage, type NamedImage } from './images.ts';
import type { PrefetchMetrics } from './metrics.ts';
import type { Images, OrderFleet, OrderRights } from './ports.ts';
import { checkChoice, chosen } from './selection.ts';
import type { Choice, NodeRow, NodeState, Order, Orderer } from './store.ts';
import type { OrderLimits, PrefetchStore } from './store.ts';

const ID_BYTES = 8;

export type OrderWish = {
  image: NamedImage;
  choice: Choice;
  platforms: readonly string[];
  lifeMs?: number | undefined;
  reachMs?: number | undefined;
  /** That makes it; what it ordered before for the same name ends. */
  policy?: string | undefined;
};

type OrderModules = {
  store: PrefetchStore;
  images: Images;
  rights: Pick<OrderRights, 'mayStillRead'>;
  fleet: Pick<OrderFleet, 'nodes'>;
  /** Told when there is other work for nodes. */
  changed: () => void;
  metrics: PrefetchMetrics;
  logger: Logger;
};

/** Orders to have images on nodes: made, looked at, and ended by hand. */
export class Orders {
  readonly #now: () => number;
  readonly #modules: OrderModules;

  constructor(options: { now: () => number }, modules: OrderModules) {
    this.#now = options.now;
    this.#modules = modules;
  }

  /**
   * Orders what an image is now, for nodes that are chosen now.
   * @throws PrefetchError INVALID, UNKNOWN also without the right to read it, FULL; what resolving
   *   the image rejects with
   */
  async order(wish: OrderWish, by: Orderer): Promise<Order> {
    const { store, images, rights, fleet, logger } = this.#modules;
    const { image, choice, platforms, policy } = wish;
    const { repository, reference } = image;
    checkChoice(choice);
    if (!(await rights.mayStillRead(by, repository))) {
      throw unknown(`there is no such image in ${repository}`);
    }
    const digest = await digestOfImage(image, images);
    const nodes = chosen(fleet.nodes(), choice, repository);
    const createdAtMs = this.#now();
    const order: Order = {
      id: randomBytes(ID_BYTES).toString('hex'),
      ...(policy === undefined ? {} : { policy }),
      repository,
      reference: referenceText(reference),
      digest,
      choice,
      platforms,
      ...by,
      reachMs: wish.reachMs ?? REACH_MS,
      createdAtMs,
      expiresAtMs: createdAtMs + (wish.lifeMs ?? ORDER_LIFE_MS),
    };
    const isFull = await store.addOrder(order, nodes, limitsOf(order));
    if (isFull !== 'ok') throw full(isFull);
    this.#modules.changed();
    const { id } = order;
    logger.info({ order: id, repository, digest, nodes: nodes.length, policy }, 'prefetch ordered');
    return order;
  }

  /** The newest first. */
  list(): Promise<Order[]> {
    return this.#modules.store.orders(ORDERS_OPEN_MAX + ORDERS_KEPT);
  }

  /** @throws PrefetchError UNKNOWN */
  async find(id: string): Promise<Order> {
    const order = await this.#modules.store.order(id);
    if (order === undefined) throw unknown(`no order ${id}`);
    return order;
  }

  /** Its nodes as they stand, by name. */
  async nodes(order: Order, page: { n: number; last?: string | undefined }): Promise<NodeRow[]> {
    const rows = await this.#modules.store.nodes(order.id, page);
    return rows.map((row) => shown(order, row, this.#now()));
  }

  /** How many of its nodes stand how. */
  async counts(order: Order): Promise<Record<NodeState, number>> {
    const counts = { queued: 0, running: 0, done: 0, failed: 0, unreached: 0 };
    for (let last = ''; ;) {
      // oxlint-disable-next-line no-await-in-loop -- one page after the other
      const rows = await this.nodes(order, { n: NODES_PAGE, last });
      for (const { state } of rows) counts[state] += 1;
      const end = rows.at(-1);
      if (end === undefined || rows.length < NODES_PAGE) return counts;
      last = end.node;
    }
  }

  /** @throws PrefetchError IN_USE when it has ended */
  async stop({ id, repository }: Order): Promise<void> {
    const { store, metrics, logger, changed } = this.#modules;
    if (!(await store.endOrder(id, 'stopped', this.#now()))) {
      throw new PrefetchError(`order ${id} has ended already`, { code: 'IN_USE' });
    }
    changed();
    metrics.orders.inc({ result: 'stopped' });
    logger.info({ order: id, repository }, 'prefetch stopped');
  }
}

/** Who may order for a project alone leaves room for others. */
function limitsOf({ subject, policy }: Order): OrderLimits {
  const own = { orders: ORDERS_OWN_MAX, rows: ORDER_NODES_OWN_MAX };
  return {
    openMax: ORDERS_OPEN_MAX,
    rowsMax: ORDER_NODES_MAX,
    own: subject === 'admin' ? undefined : own,
    replaces: policy !== undefined,
  };
}

function full(what: 'full' | 'own'): PrefetchError {
  const [orders, nodes, of] =
    what === 'own'
      ? [ORDERS_OWN_MAX, ORDER_NODES_OWN_MAX, ' of yours']
      : [ORDERS_OPEN_MAX, ORDER_NODES_MAX, ''];
  const message = `${orders} orders${of}, or ${nodes} nodes of them, are waiting; stop some`;
  return new PrefetchError(message, { code: 'FULL', max: orders });
}

const NOT_THERE = 'has not been heard of since; see that its agent runs and is new enough';

/** A node that is silent is not reached, though it may come back. */
function shown(order: Order, row: NodeRow, nowMs: number): NodeRow {
  const { state, chosenAtMs, seenAtMs } = row;
  const isSilent = (seenAtMs ?? chosenAtMs) + order.reachMs < nowMs;
  if ((state === 'queued' || state === 'running') && isSilent) {
    return { ...row, state: 'unreached', reason: NOT_THERE };
  }
  if (state !== 'unreached' || row.reason !== '') return row;
  const ended = order.result === 'stopped' ? 'the order was stopped' : 'the order ended before';
  return { ...row, reason: seenAtMs === undefined ? NOT_THERE : ended };
}
