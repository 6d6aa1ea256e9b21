import type { Insertable, Kysely, Selectable, Transaction } from 'kysely';
import type {
  NodeReport,
  NodeRow,
  NodeState,
  Order,
  OrderLimits,
  OrderResult,
  PrefetchStore,
} from '../prefetch/store.ts';
import { STATEMENT_ROWS_MAX } from './constants.ts';
import { PrefetchPolicies, type PolicyTables } from './prefetch-policies.ts';
import { nodeOf, orderOf, rowOf, type NodeTable, type OrderTable } from './prefetch-rows.ts';
import { transact } from './transact.ts';

/** Tables of migration 0014. */
export type PrefetchTables = PolicyTables & {
  prefetch_order: OrderTable;
  prefetch_node: NodeTable;
};

type Db = Kysely<PrefetchTables>;
type Open = Transaction<PrefetchTables>;

/** Held by who makes orders, so that their number stays bounded. */
const LOCK = 'prefetch orders';
const NOT_THROUGH: readonly NodeState[] = ['queued', 'running'];

/** Orders to have images on nodes, in the tables of the catalog. */
export class KyselyPrefetchStore extends PrefetchPolicies implements PrefetchStore {
  readonly #db: Db;

  constructor(modules: { db: Db }) {
    super({ db: modules.db.withTables<PolicyTables>() });
    this.#db = modules.db;
  }

  addOrder(
    order: Order,
    nodes: readonly string[],
    limits: OrderLimits,
  ): Promise<'ok' | 'full' | 'own'> {
    return transact(
      this.#db,
      async (db) => {
        const open = await openIn(db).selectAll().execute();
        const earlier = limits.replaces ? open.filter((one) => isReplaced(one, order)) : [];
        const kept = open.filter((one) => !earlier.includes(one));
        const own = kept.filter(({ subject }) => subject === order.subject);
        const rows = (await rowsIn(db, kept)) + nodes.length;
        if (kept.length >= limits.openMax || rows > limits.rowsMax) return 'full';
        const { own: most } = limits;
        if (most !== undefined) {
          const ownRows = (await rowsIn(db, own)) + nodes.length;
          if (own.length >= most.orders || ownRows > most.rows) return 'own';
        }
        for (const { id } of earlier) {
          // oxlint-disable-next-line no-await-in-loop -- in one transaction
          await end(db, id, 'replaced', order.createdAtMs);
        }
        await db.insertInto('prefetch_order').values(rowOf(order)).execute();
        await addNodes(db, order.id, nodes, order.createdAtMs);
        return 'ok';
      },
      { lock: LOCK },
    );
  }

  async order(id: string): Promise<Order | undefined> {
    const found = this.#db.selectFrom('prefetch_order').selectAll().where('id', '=', id);
    const row = await found.executeTakeFirst();
    return row && orderOf(row);
  }

  async orders(max: number): Promise<Order[]> {
    const rows = await this.#db
      .selectFrom('prefetch_order')
      .selectAll()
      .orderBy('created_at_ms', 'desc')
      .orderBy('id')
      .limit(max)
      .execute();
    return rows.map(orderOf);
  }

  async openOrders(): Promise<Order[]> {
    const open = openIn(this.#db).selectAll().orderBy('created_at_ms').orderBy('id');
    return (await open.execute()).map(orderOf);
  }

  async nodes(
    orderId: string,
    { n, last = '' }: { n: number; last?: string | undefined },
  ): Promise<NodeRow[]> {
    const rows = await this.#db
      .selectFrom('prefetch_node')
      .selectAll()
      .where('order_id', '=', orderId)
      .where('node', '>', last)
      .orderBy('node')
      .limit(n)
      .execute();
    return rows.map(nodeOf);
  }

  async workOf(node: string): Promise<{ order: Order; row: NodeRow }[]> {
    const rows = await this.#db
      .selectFrom('prefetch_node')
      .selectAll()
      .where('node', '=', node)
      .where('order_id', 'in', openIn(this.#db).select('id'))
      .execute();
    if (rows.length === 0) return [];
    const ids = rows.map((row) => row.order_id);
    const open = openIn(this.#db).selectAll().where('id', 'in', ids);
    const orders = await open.orderBy('created_at_ms').orderBy('id').execute();
    return orders.flatMap((order) => {
      const row = rows.find((one) => one.order_id === order.id);
      return row === undefined ? [] : [{ order: orderOf(order), row: nodeOf(row) }];
    });
  }

  async waiting(checkedMs: number): Promise<Set<string>> {
    const rows = await this.#db
      .selectFrom('prefetch_node')
      .innerJoin('prefetch_order', 'prefetch_order.id', 'prefetch_node.order_id')
      .where('prefetch_order.ended_at_ms', 'is', null)
      .where((is) =>
        is.or([
          is('prefetch_node.state', 'in', [...NOT_THROUGH]),
          is.and([
            is('prefetch_node.state', '=', 'done'),
            is('prefetch_node.seen_at_ms', '<', checkedMs),
            is('prefetch_order.choice', 'like', '%"copies"%'),
          ]),
        ]),
      )
      .select('prefetch_node.node')
      .distinct()
      .execute();
    return new Set(rows.map(({ node }) => node));
  }

  report(node: string, reports: readonly NodeReport[], nowMs: number): Promise<void> {
    return transact(this.#db, async (db) => {
      await ownIn(db, node)
        .set({ seen_at_ms: nowMs })
        .where('state', 'in', [...NOT_THROUGH])
        .execute();
      for (const { orderId, state, doneBytes, totalBytes, reason } of reports) {
        const own = ownIn(db, node).where('order_id', '=', orderId);
        const told = { done_bytes: doneBytes, total_bytes: totalBytes, reason };
        const isKnown = state !== 'running' || totalBytes > 0;
        // oxlint-disable-next-line no-await-in-loop -- in one transaction
        await own.set({ seen_at_ms: nowMs, ...(isKnown ? { state, ...told } : {}) }).execute();
      }
    });
  }

  begin(orderId: string, node: string, nowMs: number): Promise<void> {
    return transact(this.#db, async (db) => {
      await ownIn(db, node)
        .set({ state: 'running', seen_at_ms: nowMs })
        .where('order_id', '=', orderId)
        .where('state', 'in', [...NOT_THROUGH])
        .execute();
    });
  }

  choose(
    orderId: string,
    { add, drop }: { add: readonly string[]; drop: readonly string[] },
    nowMs: number,
  ): Promise<void> {
    return transact(
      this.#db,
      async (db) => {
        const open = await openIn(db).select('id').where('id', '=', orderId).executeTakeFirst();
        if (open === undefined) return;
        const leaving = [...add, ...drop];
        for (let at = 0; at < leaving.length; at += STATEMENT_ROWS_MAX) {
          const some = leaving.slice(at, at + STATEMENT_ROWS_MAX);
          const gone = db.deleteFrom('prefetch_node').where('order_id', '=', orderId);
          // oxlint-disable-next-line no-await-in-loop -- in one transaction
          await gone.where('node', 'in', some).execute();
        }
        await addNodes(db, orderId, add, nowMs);
      },
      { lock: LOCK },
    );
  }

  endOrder(id: string, result: OrderResult, nowMs: number): Promise<boolean> {
    return transact(this.#db, (db) => end(db, id, result, nowMs));
  }

  endIfSettled(id: string, nowMs: number): Promise<OrderResult | undefined> {
    return transact(this.#db, async (db) => {
      const any = (states: readonly NodeState[]) =>
        db
          .selectFrom('prefetch_node')
          .select('state')
          .where('order_id', '=', id)
          .where('state', 'in', [...states])
          .limit(1)
          .executeTakeFirst();
      if ((await any(NOT_THROUGH)) !== undefined) return undefined;
      const result = (await any(['failed'])) === undefined ? 'done' : 'failed';
      return (await end(db, id, result, nowMs)) ? result : undefined;
    });
  }

  trim({ orders, rows }: { orders: number; rows: number }): Promise<void> {
    return transact(
      this.#db,
      async (db) => {
        const ended = await db
          .selectFrom('prefetch_order')
          .leftJoin('prefetch_node', 'prefetch_node.order_id', 'prefetch_order.id')
          .where('ended_at_ms', 'is not', null)
          .groupBy(['prefetch_order.id', 'prefetch_order.ended_at_ms'])
          .select((count) => [
            'prefetch_order.id',
            count.fn.count<number | string>('node').as('nodes'),
          ])
          .orderBy('prefetch_order.ended_at_ms', 'desc')
          .orderBy('prefetch_order.id')
          .execute();
        let [seen, held] = [0, 0];
        const gone = ended.filter(({ nodes }) => {
          seen += 1;
          held += Number(nodes);
          return seen > orders || (held > rows && seen > 1);
        });
        const ids = gone.map(({ id }) => id).slice(0, STATEMENT_ROWS_MAX);
        if (ids.length === 0) return;
        await db.deleteFrom('prefetch_node').where('order_id', 'in', ids).execute();
        await db.deleteFrom('prefetch_order').where('id', 'in', ids).execute();
      },
      { lock: LOCK },
    );
  }
}

function openIn(db: Db) {
  return db.selectFrom('prefetch_order').where('ended_at_ms', 'is', null);
}

/** What open orders know of a node. */
function ownIn(db: Open, node: string) {
  return db
    .updateTable('prefetch_node')
    .where('node', '=', node)
    .where('order_id', 'in', openIn(db).select('id'));
}

async function addNodes(db: Open, id: string, nodes: readonly string[], nowMs: number) {
  for (let at = 0; at < nodes.length; at += STATEMENT_ROWS_MAX) {
    const rows = nodes.slice(at, at + STATEMENT_ROWS_MAX).map((node): Insertable<NodeTable> => ({
      order_id: id,
      node,
      state: 'queued',
      done_bytes: 0,
      total_bytes: 0,
      reason: '',
      chosen_at_ms: nowMs,
      seen_at_ms: null,
    }));
    // oxlint-disable-next-line no-await-in-loop -- in one transaction
    await db.insertInto('prefetch_node').values(rows).execute();
  }
}

async function end(db: Open, id: string, result: OrderResult, nowMs: number): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('prefetch_order')
    .set({ ended_at_ms: nowMs, result })
    .where('id', '=', id)
    .where('ended_at_ms', 'is', null)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) return false;
  await db
    .updateTable('prefetch_node')
    .set({ state: 'unreached' })
    .where('order_id', '=', id)
    .where('state', 'in', [...NOT_THROUGH])
    .execute();
  return true;
}

/** Whether an order of a policy takes the place of another one. */
function isReplaced(
  one: Selectable<OrderTable>,
  { policy, repository, reference }: Order,
): boolean {
  const isSame = one.repository === repository && one.reference === reference;
  return policy !== undefined && one.policy === policy && isSame;
}

/** Nodes of these orders together. */
async function rowsIn(db: Open, orders: readonly { id: string }[]): Promise<number> {
  if (orders.length === 0) return 0;
  const ids = orders.map(({ id }) => id);
  const { rows } = await db
    .selectFrom('prefetch_node')
    .where('order_id', 'in', ids)
    .select((count) => count.fn.countAll<number | string>().as('rows'))
    .executeTakeFirstOrThrow();
  return Number(rows);
}
