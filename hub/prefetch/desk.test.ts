import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { PrefetchResponse } from '../../proto/hubapi/prefetch.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { KyselyPrefetchStore, type PrefetchTables } from '../catalog/prefetch-store.ts';
import { openSqliteCatalog } from '../catalog/sqlite-catalog.ts';
import { COPY_CHECK_MS } from './constants.ts';
import { imageOf } from './images.ts';
import type { Images, OrderFleet, OrderRights } from './ports.ts';
import { startPrefetch } from './start.ts';

const logger = createLogger({ level: 'silent', name: 'test' });
const IMAGE = digestOf(Buffer.from('an image'));
const MEMBERS = [
  { node: 'n1', zone: 'a' },
  { node: 'n2', zone: 'a' },
  { node: 'n3', zone: 'b' },
];
/** On the clock of `performance.now()`. */
const LATER_MS = 1e12;
const BY = { subject: 'account:ada', epoch: '1' };
const N1 = { node: 'n1', peerId: 'peer-1' };

/** A hub with this fleet, whose accounts lose their rights when `allowed` is false. */
async function hub(t: TestContext) {
  const catalog = await openSqliteCatalog({ path: ':memory:' });
  t.after(() => catalog.close());
  const world = { nowMs: 1_700_000_000_000, allowed: true, members: MEMBERS, round: noRound };
  const granted: object[] = [];
  const images: Images = {
    repositoryOf: (name) => parseRepository(name.replace(/^hub\.test\//, '')),
    resolve: async (_repository, reference) =>
      reference.kind === 'tag' && reference.tag === 'gone' ? undefined : IMAGE,
    tags: async () => ['v1', 'v2', 'dev'],
  };
  const rights: OrderRights = {
    isPublic: (repository) => !repository.startsWith('own/'),
    mayStillRead: async ({ subject }) => world.allowed || subject === 'admin',
    lendFor: async () => (world.allowed ? 'a token' : undefined),
  };
  const fleet: OrderFleet = {
    nodes: () => world.members,
    orderedGrant: async (wish) => {
      granted.push(wish);
      return { grant: Buffer.from('a grant'), digests: [IMAGE] };
    },
  };
  const registry = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  const store = new KyselyPrefetchStore({ db: catalog.db.withTables<PrefetchTables>() });
  const prefetch = startPrefetch(
    { grantLifeMs: 1000, now: () => world.nowMs },
    {
      store,
      images,
      rights,
      fleet,
      chores: { add: ({ run }) => void (world.round = () => run(new AbortController().signal)) },
      metrics: registry,
      logger,
    },
  );
  const order = (image: string, choice = {}, lifeMs?: number) =>
    prefetch.orders.order(
      { image: imageOf(image, images), choice: { nodes: '', ...choice }, platforms: [], lifeMs },
      BY,
    );
  return { ...prefetch, store, registry, world, granted, order };
}

async function noRound(): Promise<void> {}

const READY = { reports: [], ready: true };
const done = (id: string) => ({ id, state: 'done' as const, doneBytes: 7, totalBytes: 7 });
const running = (id: string) => ({ ...done(id), state: 'running' as const, doneBytes: 1 });

test('a node is given the oldest order for it, with rights, until nothing is left', async (t) => {
  const { desk, order, granted, store, world } = await hub(t);
  const first = await order('own/app:v1', { nodes: 'zone=a' });
  world.nowMs += 1;
  const second = await order('team/app:v1');
  assert.equal(await desk.hasWork('n1'), true);
  const answer = await desk.answer(N1, READY);
  assert.equal(answer.task?.id, first.id);
  assert.deepEqual([answer.task.repository, answer.task.digest], ['own/app', IMAGE]);
  assert.equal(answer.task.rights?.token, 'a token');
  const wish = { repository: 'own/app', digest: IMAGE, peerId: 'peer-1', token: 'a token' };
  assert.deepEqual(granted, [wish]);
  const again = await desk.answer(N1, READY);
  assert.equal(again.task?.id, first.id, 'an agent that was started anew knows of nothing');
  const next = await desk.answer(N1, { reports: [done(first.id)], ready: true });
  assert.equal(next.task?.id, second.id);
  assert.equal(next.task.rights?.token, undefined, 'public content needs none');
  const busy = { reports: [running(second.id)], ready: false };
  assert.equal((await desk.answer(N1, busy)).task, undefined);
  await desk.answer(N1, { reports: [done(second.id)], ready: true });
  assert.equal(await desk.hasWork('n1'), false);
  assert.equal((await store.order(second.id))?.result, undefined, 'others have not got it');
});

test('the right of who ordered is looked at each time, and its end ends what runs', async (t) => {
  const { desk, order, world, store } = await hub(t);
  const { id } = await order('own/app:v1', { nodes: 'node=n1' });
  await desk.answer(N1, READY);
  const asks = { reports: [running(id)], ready: false, renew: id };
  const renewed = await desk.answer(N1, asks);
  assert.equal(renewed.rights?.token, 'a token');
  world.allowed = false;
  const ended = await desk.answer(N1, asks);
  assert.deepEqual([ended.stop, ended.rights], [[id], undefined]);
  assert.equal((await store.order(id))?.result, 'failed');
  assert.match((await store.nodes(id, { n: 1 }))[0]?.reason ?? '', /may not read it any more/);
  await assert.rejects(order('own/app:v2'), { code: 'UNKNOWN' });
  world.allowed = true;
  const late = await order('own/app:v2', { nodes: 'node=n1' });
  world.allowed = false;
  assert.equal((await desk.answer(N1, READY)).task, undefined);
  assert.equal((await store.order(late.id))?.result, 'failed');
});

test('what was stopped or has expired is stopped at the nodes, and given to none', async (t) => {
  const { desk, orders, order, world, store } = await hub(t);
  const stopped = await order('team/app:v1');
  const expired = await order('team/app:v2', {}, 60_000);
  await orders.stop(stopped);
  await assert.rejects(orders.stop(stopped), { code: 'IN_USE' });
  world.nowMs += 60_000;
  const reports = [running(stopped.id), running(expired.id)];
  const answer: PrefetchResponse = await desk.answer(N1, { reports, ready: true });
  assert.deepEqual(answer.stop, [stopped.id, expired.id]);
  assert.equal(answer.task, undefined);
  await world.round();
  assert.equal((await store.order(expired.id))?.result, 'failed');
});

test('copies are asked after, and others are chosen when nodes are silent or gone', async (t) => {
  const { desk, order, orders, world, store, registry } = await hub(t);
  const kept = await order('team/app:v1', { copies: 2 });
  const nodes = async () => (await store.nodes(kept.id, { n: 9 })).map(({ node }) => node);
  const [one = '', two = ''] = await nodes();
  const other = MEMBERS.find(({ node }) => node !== one && node !== two)?.node ?? '';
  for (const node of [one, two]) {
    await desk.answer({ node, peerId: node }, { reports: [done(kept.id)], ready: true });
  }
  assert.equal((await orders.counts(kept)).done, 2);
  assert.doesNotMatch(await registry.text(), /missing_copies \d/, 'nobody has looked yet');
  await world.round();
  assert.match(await registry.text(), /prefetch_missing_copies 0\n/);
  assert.deepEqual(await nodes(), [one, two]);
  world.nowMs += COPY_CHECK_MS + 1;
  desk.changed();
  assert.equal(await desk.hasWork(one), true);
  assert.equal((await desk.answer({ node: one, peerId: one }, READY)).task?.id, kept.id);
  await desk.answer({ node: one, peerId: one }, { reports: [done(kept.id)], ready: true });
  world.members = MEMBERS.filter(({ node }) => node !== two);
  await world.round();
  assert.match(await registry.text(), /prefetch_missing_copies 1\n/);
  t.mock.method(performance, 'now', () => LATER_MS);
  assert.doesNotMatch(await registry.text(), /missing_copies \d/, 'another hub may look by now');
  assert.deepEqual(await nodes(), [one, other].toSorted());
  assert.equal(await desk.hasWork(other), true);
});

test('a schedule orders what its tags are when its time comes, once', async (t) => {
  const { policies, world, orders } = await hub(t);
  const spec = { choice: { nodes: '' }, platforms: [], lifeMs: 60_000, enabled: true };
  const nightly = { ...spec, repository: 'team/app', tag: 'v*', on: { cron: '0 3 * * *' } };
  await assert.rejects(policies.put('bad', { ...nightly, on: { cron: '61 * * * *' } }), {
    code: 'CRON_INVALID',
  });
  await assert.rejects(policies.put('bad', { ...nightly, repository: 'team/*' }), /one repository/);
  await policies.put('nightly', nightly);
  await world.round();
  assert.equal((await orders.list()).length, 0);
  world.nowMs += 86_400_000;
  await world.round();
  await world.round();
  const made = await orders.list();
  assert.deepEqual(made.map(({ reference }) => reference).toSorted(), ['v1', 'v2']);
  assert.match((await policies.find('nightly')).note, /^2 of 2 tags ordered/);
  const off = await policies.put('nightly', { ...nightly, enabled: false });
  assert.ok((off.nextAtMs ?? 0) > world.nowMs);
  world.nowMs += 86_400_000;
  await world.round();
  assert.equal((await orders.list()).length, 2);
});

test('a policy that follows pushes names repositories as they are called here', async (t) => {
  const { policies, orders } = await hub(t);
  const spec = { tag: 'v*', choice: { nodes: '' }, platforms: [], lifeMs: 60_000, enabled: true };
  const put = (repository: string) =>
    policies.put('follow', { ...spec, repository, on: 'push' as const });
  await assert.rejects(put('Team/*'), { code: 'INVALID', message: /no pattern/ });
  assert.equal((await put('hub.test/team/app')).repository, 'team/app');
  policies.pushed({ repository: parseRepository('team/app'), digest: IMAGE, tags: ['v1'] });
  await policies.settled();
  assert.equal((await orders.list()).length, 1);
});
