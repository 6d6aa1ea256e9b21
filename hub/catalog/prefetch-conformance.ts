// What the catalog must do for orders to have images on nodes, whatever the database.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import type { NodeReport, Order, Policy, PrefetchStore } from '../prefetch/store.ts';

const LIMITS = { openMax: 3, rowsMax: 100, replaces: false };
const NOW_MS = 1_700_000_000_000;

function order(id: string, fields: Partial<Order> = {}): Order {
  return {
    id,
    repository: parseRepository('team/app'),
    reference: 'v1',
    digest: digestOf(Buffer.from(id)),
    choice: { nodes: 'zone=a', percent: 20 },
    platforms: ['linux/amd64'],
    subject: 'account:ada',
    epoch: '7',
    reachMs: 60_000,
    createdAtMs: NOW_MS,
    expiresAtMs: NOW_MS + 3_600_000,
    ...fields,
  };
}

function policy(name: string, fields: Partial<Policy> = {}): Policy {
  return {
    name,
    repository: 'team/*',
    tag: 'v*',
    on: 'push',
    choice: { nodes: '', copies: 3 },
    platforms: [],
    lifeMs: 60_000,
    enabled: true,
    createdAtMs: NOW_MS,
    note: '',
    ...fields,
  };
}

function report(orderId: string, fields: Partial<NodeReport> = {}): NodeReport {
  return { orderId, state: 'done', doneBytes: 5, totalBytes: 5, reason: '', ...fields };
}

async function statesOf(store: PrefetchStore, id: string): Promise<string[]> {
  const rows = await store.nodes(id, { n: 100 });
  return rows.map(({ node, state }) => `${node} ${state}`);
}

async function idsOf(orders: Promise<Order[]>): Promise<string[]> {
  return (await orders).map(({ id }) => id);
}

const CASES: Record<string, (store: PrefetchStore) => Promise<void>> = {
  'an order is read back as it was made, with its nodes by name': async (store) => {
    const made = order('a', { policy: 'nightly' });
    assert.equal(await store.addOrder(made, ['n2', 'n1', 'n3'], LIMITS), 'ok');
    assert.deepEqual(await store.order('a'), made);
    assert.equal(await store.order('b'), undefined);
    assert.deepEqual(await statesOf(store, 'a'), ['n1 queued', 'n2 queued', 'n3 queued']);
    const page = await store.nodes('a', { n: 1, last: 'n1' });
    assert.deepEqual(
      page.map(({ node }) => node),
      ['n2'],
    );
  },

  'no more orders are open than may be, nor more nodes in them': async (store) => {
    assert.equal(await store.addOrder(order('a'), ['n1'], { ...LIMITS, rowsMax: 2 }), 'ok');
    const two = ['n1', 'n2'];
    assert.equal(await store.addOrder(order('b'), two, { ...LIMITS, rowsMax: 2 }), 'full');
    const added = await Promise.all(
      ['b', 'c', 'd', 'e'].map((id) => store.addOrder(order(id), ['n1'], LIMITS)),
    );
    assert.deepEqual(added.toSorted(), ['full', 'full', 'ok', 'ok']);
    assert.equal((await store.openOrders()).length, 3);
    await store.endOrder('a', 'stopped', NOW_MS);
    assert.equal(await store.addOrder(order('f'), ['n1'], LIMITS), 'ok');
  },

  'one who orders leaves room for others': async (store) => {
    const limits = { ...LIMITS, own: { orders: 2, rows: 3 } };
    assert.equal(await store.addOrder(order('a'), ['n1', 'n2'], limits), 'ok');
    assert.equal(await store.addOrder(order('b'), ['n1', 'n2'], limits), 'own');
    assert.equal(await store.addOrder(order('b'), ['n1'], limits), 'ok');
    assert.equal(await store.addOrder(order('c'), [], limits), 'own');
    const other = order('c', { subject: 'account:bob' });
    assert.equal(await store.addOrder(other, ['n1'], limits), 'ok');
  },

  'an order that finds no room replaces none': async (store) => {
    const replaces = { ...LIMITS, rowsMax: 2, replaces: true };
    const nightly = { policy: 'nightly' };
    assert.equal(await store.addOrder(order('a', nightly), ['n1', 'n2'], replaces), 'ok');
    const more = ['n1', 'n2', 'n3'];
    assert.equal(await store.addOrder(order('b', nightly), more, replaces), 'full');
    assert.deepEqual(await idsOf(store.openOrders()), ['a']);
    assert.equal(await store.addOrder(order('b', nightly), ['n1', 'n2'], replaces), 'ok');
    assert.equal((await store.order('a'))?.result, 'replaced');
  },

  'a node has its work in the order it was ordered in, until it has ended': async (store) => {
    await store.addOrder(order('late', { createdAtMs: NOW_MS + 1 }), ['n1'], LIMITS);
    await store.addOrder(order('early'), ['n1', 'n2'], LIMITS);
    const ids = async () => (await store.workOf('n1')).map((work) => work.order.id);
    assert.deepEqual(await ids(), ['early', 'late']);
    assert.deepEqual([...(await store.waiting(0))].toSorted(), ['n1', 'n2']);
    assert.equal(await store.endOrder('early', 'stopped', NOW_MS), true);
    assert.equal(await store.endOrder('early', 'done', NOW_MS), false);
    assert.deepEqual(await ids(), ['late']);
    assert.deepEqual([...(await store.waiting(0))], ['n1']);
    assert.equal((await store.order('early'))?.result, 'stopped');
    assert.deepEqual(await statesOf(store, 'early'), ['n1 unreached', 'n2 unreached']);
  },

  'what a node tells counts for open orders and for itself alone': async (store) => {
    await store.addOrder(order('a'), ['n1', 'n2'], LIMITS);
    await store.begin('a', 'n1', NOW_MS);
    await store.report('n1', [report('a', { state: 'running', doneBytes: 1 })], NOW_MS + 5);
    const [first] = await store.nodes('a', { n: 1 });
    assert.equal(first?.state, 'running');
    assert.deepEqual([first.doneBytes, first.totalBytes, first.seenAtMs], [1, 5, NOW_MS + 5]);
    await store.report('n3', [report('a')], NOW_MS);
    assert.deepEqual(await statesOf(store, 'a'), ['n1 running', 'n2 queued']);
    await store.report('n2', [report('a', { state: 'failed', reason: 'no room' })], NOW_MS);
    assert.equal(await store.endIfSettled('a', NOW_MS), undefined);
    await store.report('n1', [report('a')], NOW_MS);
    assert.equal(await store.endIfSettled('a', NOW_MS), 'failed');
    assert.equal(await store.endIfSettled('a', NOW_MS), undefined, 'ended once');
    await store.report('n2', [report('a')], NOW_MS);
    assert.deepEqual(await statesOf(store, 'a'), ['n1 done', 'n2 failed']);
  },

  'a node that still looks what it has does not lose its copy by that': async (store) => {
    await store.addOrder(order('a', { choice: { nodes: '', copies: 1 } }), ['n1'], LIMITS);
    await store.report('n1', [report('a')], NOW_MS);
    assert.deepEqual([...(await store.waiting(NOW_MS))], []);
    assert.deepEqual([...(await store.waiting(NOW_MS + 1))], ['n1'], 'it is asked again in time');
    const looks = report('a', { state: 'running', doneBytes: 0, totalBytes: 0 });
    await store.report('n1', [looks], NOW_MS + 9);
    assert.deepEqual(await statesOf(store, 'a'), ['n1 done']);
    const [row] = await store.nodes('a', { n: 1 });
    assert.deepEqual([row?.totalBytes, row?.seenAtMs], [5, NOW_MS + 9]);
    await store.addOrder(order('b'), ['n2'], LIMITS);
    await store.report('n2', [report('b')], NOW_MS);
    assert.deepEqual([...(await store.waiting(NOW_MS + 10))], ['n1'], 'of copies only');
  },

  'nodes are chosen anew while the order is open': async (store) => {
    await store.addOrder(order('a'), ['n1', 'n2'], LIMITS);
    await store.report('n1', [report('a', { state: 'failed', reason: 'x' })], NOW_MS);
    await store.choose('a', { add: ['n1', 'n3'], drop: ['n2'] }, NOW_MS + 7);
    assert.deepEqual(await statesOf(store, 'a'), ['n1 queued', 'n3 queued']);
    await store.endOrder('a', 'stopped', NOW_MS);
    await store.choose('a', { add: ['n4'], drop: ['n1'] }, NOW_MS);
    assert.deepEqual(await statesOf(store, 'a'), ['n1 unreached', 'n3 unreached']);
  },

  'a later order of a policy replaces the one for the same tag': async (store) => {
    const replaces = { ...LIMITS, replaces: true };
    await store.addOrder(order('a', { policy: 'p' }), ['n1'], LIMITS);
    await store.addOrder(order('other', { policy: 'p', reference: 'v2' }), ['n1'], replaces);
    await store.addOrder(order('hand'), ['n1'], LIMITS);
    assert.equal(await store.addOrder(order('b', { policy: 'p' }), ['n1'], replaces), 'ok');
    assert.equal((await store.order('a'))?.result, 'replaced');
    assert.deepEqual((await idsOf(store.openOrders())).toSorted(), ['b', 'hand', 'other']);
  },

  'of what has ended the newest is remembered': async (store) => {
    for (const [at, id] of ['a', 'b', 'c', 'd'].entries()) {
      await store.addOrder(order(id, { createdAtMs: NOW_MS + at }), ['n1', 'n2'], LIMITS);
      if (id !== 'd') await store.endOrder(id, 'done', NOW_MS + at);
    }
    await store.trim({ orders: 10, rows: 5 });
    assert.deepEqual(await idsOf(store.orders(10)), ['d', 'c', 'b']);
    await store.trim({ orders: 1, rows: 100 });
    assert.deepEqual(await idsOf(store.orders(10)), ['d', 'c']);
    assert.deepEqual(await idsOf(store.orders(1)), ['d']);
    assert.deepEqual(await store.nodes('b', { n: 9 }), []);
  },

  'policies are kept by name, and one hub acts when their time comes': async (store) => {
    const nightly = policy('nightly', { on: { cron: '0 3 * * *' }, nextAtMs: NOW_MS });
    assert.equal(await store.putPolicy(policy('b'), { max: 2 }), 'ok');
    assert.equal(await store.putPolicy(nightly, { max: 2 }), 'ok');
    assert.equal(await store.putPolicy(policy('c'), { max: 2 }), 'full');
    assert.deepEqual(await store.policy('nightly'), nightly);
    const moved = await Promise.all([
      store.movePolicy('nightly', NOW_MS, NOW_MS + 9),
      store.movePolicy('nightly', NOW_MS, NOW_MS + 9),
    ]);
    assert.equal(moved.filter(Boolean).length, 1);
    assert.equal(await store.movePolicy('b', undefined, 5), true);
    await store.notePolicy('b', 'nothing fits');
    const changed = policy('b', { enabled: false, createdAtMs: 0, note: 'kept' });
    assert.equal(await store.putPolicy(changed, { max: 2 }), 'ok');
    const all = await store.policies();
    assert.deepEqual(all[0], { ...changed, createdAtMs: NOW_MS });
    assert.equal(all[1]?.nextAtMs, NOW_MS + 9);
    assert.equal(await store.deletePolicy('b'), true);
    assert.equal(await store.deletePolicy('b'), false);
  },
};

/** Tests of the store in one place; `open` gives an empty one. */
export function prefetchStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<PrefetchStore>,
  options: { skip?: string | false } = {},
): void {
  for (const [promise, work] of Object.entries(CASES)) {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      await work(await open(t));
    });
  }
}
