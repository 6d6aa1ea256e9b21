import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import {
  COPY_LOST_MS,
  COPY_RETRY_MS,
  NODES_PAGE,
  ORDER_NODES_KEPT,
  ORDERS_KEPT,
} from './constants.ts';
import type { PrefetchMetrics } from './metrics.ts';
import type { OrderFleet, OrderRights } from './ports.ts';
import { ranked } from './selection.ts';
import type { NodeRow, Order, OrderResult, PrefetchStore } from './store.ts';

type Modules = {
  store: PrefetchStore;
  fleet: Pick<OrderFleet, 'nodes'>;
  rights: Pick<OrderRights, 'mayStillRead'>;
  changed: () => void;
  metrics: PrefetchMetrics;
  logger: Logger;
};

/** Looks after open orders: ends what is over, and has copies kept as nodes come and go. */
export class OrderKeeper {
  readonly #now: () => number;
  readonly #modules: Modules;

  constructor(options: { now: () => number }, modules: Modules) {
    this.#now = options.now;
    this.#modules = modules;
  }

  /** One round; one hub at a time is enough. */
  async look(signal: AbortSignal): Promise<void> {
    const { store, metrics, logger } = this.#modules;
    const open = await store.openOrders();
    let missing = 0;
    for (const order of open) {
      signal.throwIfAborted();
      try {
        // oxlint-disable-next-line no-await-in-loop -- one order after the other
        missing += await this.#lookAfter(order);
      } catch (err) {
        const fields = { order: order.id, reason: messageOf(err) };
        logger.warn(fields, 'an order of prefetch could not be looked after');
      }
    }
    metrics.looked({ open: open.length, missing });
    await store.trim({ orders: ORDERS_KEPT, rows: ORDER_NODES_KEPT });
  }

  /** Copies that are not there. */
  async #lookAfter(order: Order): Promise<number> {
    const { rights, store, fleet } = this.#modules;
    const nowMs = this.#now();
    const { subject, epoch, repository, expiresAtMs, choice } = order;
    if (!(await rights.mayStillRead({ subject, epoch }, repository))) {
      await this.#end(order, 'failed');
      return 0;
    }
    if (choice.copies !== undefined) {
      const rows = await this.#rowsOf(order);
      const members = new Set(fleet.nodes().map(({ node }) => node));
      const kept = rows.filter((row) => {
        return row.state === 'done' && members.has(row.node) && isCounted(order, row, nowMs);
      });
      const missing = Math.max(0, choice.copies - kept.length);
      if (expiresAtMs > nowMs) await this.#keepCopies(order, rows);
      else await this.#end(order, missing === 0 ? 'done' : 'failed');
      return missing;
    }
    // The hub that was told the last of it may have ended before it could say so.
    const result = await store.endIfSettled(order.id, nowMs);
    if (result !== undefined) this.#tellEnd(order, result);
    else if (expiresAtMs <= nowMs) await this.#end(order, 'failed');
    return 0;
  }

  async #end(order: Order, result: OrderResult): Promise<void> {
    const { store } = this.#modules;
    if (await store.endOrder(order.id, result, this.#now())) this.#tellEnd(order, result);
  }

  #tellEnd({ id, repository }: Order, result: OrderResult): void {
    const { metrics, changed, logger } = this.#modules;
    changed();
    metrics.orders.inc({ result });
    logger.info({ order: id, repository, result }, 'prefetch ended');
  }

  async #rowsOf({ id }: Order): Promise<NodeRow[]> {
    const all: NodeRow[] = [];
    for (let last = ''; ;) {
      // oxlint-disable-next-line no-await-in-loop -- one page after the other
      const rows = await this.#modules.store.nodes(id, { n: NODES_PAGE, last });
      all.push(...rows);
      const end = rows.at(-1);
      if (end === undefined || rows.length < NODES_PAGE) return all;
      last = end.node;
    }
  }

  async #keepCopies(order: Order, rows: readonly NodeRow[]): Promise<void> {
    const { fleet, store, changed, logger } = this.#modules;
    const { id, choice, repository } = order;
    const nowMs = this.#now();
    const change = copyChange(order, rows, {
      candidates: ranked(fleet.nodes(), choice.nodes, repository).map(({ node }) => node),
      nowMs,
    });
    if (change.add.length + change.drop.length === 0) return;
    await store.choose(id, change, nowMs);
    changed();
    logger.info({ order: id, repository, ...change }, 'nodes of copies were chosen anew');
  }
}

/**
 * Which nodes are to have copies besides those that have them, and which are to no more; the
 * candidates are in their order. Without I/O.
 */
export function copyChange(
  order: Pick<Order, 'choice' | 'reachMs'>,
  rows: readonly NodeRow[],
  { candidates, nowMs }: { candidates: readonly string[]; nowMs: number },
): { add: string[]; drop: string[] } {
  const wanted = order.choice.copies ?? 0;
  const places = new Map(candidates.map((node, place) => [node, place]));
  const isThere = ({ node }: NodeRow): boolean => places.has(node);
  const gone = rows.filter((row) => !isThere(row)).map(({ node }) => node);
  const counted = rows.filter((row) => isThere(row) && isCounted(order, row, nowMs));
  const done = counted.filter(({ state }) => state === 'done');
  if (done.length > wanted) {
    const last = done.sort((a, b) => (places.get(a.node) ?? 0) - (places.get(b.node) ?? 0));
    return { add: [], drop: [...gone, ...last.slice(wanted).map(({ node }) => node)] };
  }
  const missing = Math.max(0, wanted - counted.length);
  const known = new Map(rows.map((row) => [row.node, row]));
  const free = candidates.filter((node) => {
    const row = known.get(node);
    if (row === undefined) return true;
    const failedMs = row.state === 'failed' ? (row.seenAtMs ?? row.chosenAtMs) : nowMs;
    return failedMs + COPY_RETRY_MS < nowMs;
  });
  return { add: free.slice(0, missing), drop: gone };
}

/** Whether a node has a copy, or is about to. */
function isCounted({ reachMs }: Pick<Order, 'reachMs'>, row: NodeRow, nowMs: number): boolean {
  const heardMs = row.seenAtMs ?? row.chosenAtMs;
  if (row.state === 'done') return heardMs + COPY_LOST_MS > nowMs;
  return (row.state === 'queued' || row.state === 'running') && heardMs + reachMs > nowMs;
}
