import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { FLOWS_KEPT_MAX } from './constants.ts';
import { FairOrder, type Waiting } from './fair-order.ts';

const MIB = 1024 * 1024;

function item(path: string, bytes = MIB): Waiting {
  return { path: path.split('/'), bytes };
}

/** Bytes that each outermost group got in so many turns. */
function shares(order: FairOrder<Waiting>, turns: number, again?: (served: Waiting) => void) {
  const bytes: Record<string, number> = {};
  for (let n = 0; n < turns; n += 1) {
    const served = order.pop();
    if (served === undefined) break;
    const [group = ''] = served.path;
    bytes[group] = (bytes[group] ?? 0) + served.bytes;
    again?.(served);
  }
  return bytes;
}

test('a small image has its half of the turns beside a model that hundreds read', () => {
  const order = new FairOrder<Waiting>();
  for (let n = 0; n < 500; n += 1) order.push(item(`model/blob/node${n}`));
  const turns = 100;
  order.push(item('small/blob/node'));
  const got = shares(order, turns, (served) => {
    // One connection each: the next slice is asked for when the last one is out.
    order.push(item(served.path.join('/')));
  });
  assert.deepEqual(got, { model: 50 * MIB, small: 50 * MIB });
});

test('a caller with many connections gets no more of a blob than one with one', () => {
  const order = new FairOrder<Waiting>();
  for (let n = 0; n < 64; n += 1) order.push(item('repository/blob/greedy'));
  for (let n = 0; n < 10; n += 1) order.push(item('repository/blob/modest'));
  const callers: string[] = [];
  for (let n = 0; n < 20; n += 1) callers.push(order.pop()?.path.at(-1) ?? '');
  assert.equal(callers.filter((caller) => caller === 'modest').length, 10);
});

test('who was away gets no more than his share when he is back', () => {
  const order = new FairOrder<Waiting>();
  for (let n = 0; n < 200; n += 1) order.push(item('a/x/1'));
  shares(order, 100);
  for (let n = 0; n < 100; n += 1) order.push(item('b/x/1'));
  assert.deepEqual(shares(order, 20), { a: 10 * MIB, b: 10 * MIB });
});

test('a group of less weight gets as much less', () => {
  const order = new FairOrder<Waiting>({ weightOf: (group) => (group === 'light' ? 0.25 : 1) });
  for (let n = 0; n < 100; n += 1) {
    order.push(item('light/x/1'));
    order.push(item('full/x/1'));
  }
  const { light = 0, full = 0 } = shares(order, 50);
  assert.equal(light / full, 0.25);
});

test('what is remembered is bounded, over all repositories, blobs and callers together', () => {
  const order = new FairOrder<Waiting>();
  order.push(item('small/blob/first'));
  for (let n = 0; n < 2 * FLOWS_KEPT_MAX; n += 1) {
    const one = item(`team${n % 20}/blob${n % 900}/node${n}`);
    order.push(one);
    order.take(one);
  }
  assert.ok(order.flows <= FLOWS_KEPT_MAX, `${order.flows} remembered`);
  assert.equal(order.pop()?.path.join('/'), 'small/blob/first');
  assert.equal(order.groups, 0);
});

test('whatever waits is served once, and no two groups that wait get far apart', () => {
  const bytes = fc.integer({ min: 1, max: MIB });
  const asks = fc.array(fc.tuple(fc.nat(3), fc.nat(2), fc.nat(2), bytes), { minLength: 1 });
  fc.assert(
    fc.property(asks, fc.array(fc.nat(50)), (all, removed) => {
      const order = new FairOrder<Waiting>();
      const items = all.map(([a, b, c, size]) => item(`${a}/${b}/${c}`, size));
      for (const one of items) order.push(one);
      const gone = new Set(removed.flatMap((n) => items[n] ?? []));
      for (const one of gone) order.remove(one);
      const left = items.filter((one) => !gone.has(one));
      const waits = Map.groupBy(left, ({ path }) => path[0] ?? '');
      const served = new Map<string, number>();
      for (let n = left.length; n > 0; n -= 1) {
        assert.equal(order.size, n);
        const next = order.pop();
        assert.ok(next !== undefined && !gone.has(next));
        const [group = ''] = next.path;
        const own = waits.get(group)?.filter((one) => one !== next) ?? [];
        served.set(group, (served.get(group) ?? 0) + next.bytes);
        if (own.length > 0) waits.set(group, own);
        else waits.delete(group);
        const lots = [...waits.keys()].map((key) => served.get(key) ?? 0);
        assert.ok(Math.max(...lots, 0) - Math.min(...lots, MIB * 200) <= 2 * MIB);
      }
      assert.equal(order.pop(), undefined);
    }),
  );
});
