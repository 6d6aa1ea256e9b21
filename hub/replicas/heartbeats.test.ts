import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LAPSE_MS, REPLICAS_MAX, TAKEOVER_MS } from './constants.ts';
import { MemoryReplicaStore } from './memory-store.ts';
import { TestReplica, TestReplicas, wish } from './replicas-fixture.ts';

/** Lets one hub see that nothing came of others for TAKEOVER_MS. */
async function waitsFor(hub: TestReplica): Promise<void> {
  for (let passed = 0; passed <= TAKEOVER_MS; passed += LAPSE_MS / 2) {
    hub.sleep(LAPSE_MS / 2);
    // oxlint-disable-next-line no-await-in-loop -- a look after each pause
    await hub.replicas.refresh();
  }
}

test('a hub whose heartbeats lapse owns nothing, and remembers what it was told', async (t) => {
  const fleet = new TestReplicas(t);
  const [a, b] = await fleet.start('a', 'b');
  assert.ok(a && b);
  const [digest] = fleet.digestsOf('b', 1);
  assert.ok(digest);
  await a.announce('ann', [wish(digest)]);
  b.line.isCut = true;
  await assert.doesNotReject(b.replicas.refresh());
  b.age(LAPSE_MS);
  assert.equal(await b.metric('replicas_owner'), 0);
  for (const hub of [a, b]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { blobs } = await hub.announce('ben', [wish(digest)], { full: true });
    assert.deepEqual(blobs[0]?.peers, []);
    assert.deepEqual(blobs[0]?.hubChunks, []);
  }
  b.line.isCut = false;
  await b.owns(2);
  const { blobs } = await a.announce('ben', [wish(digest)]);
  assert.deepEqual(blobs[0]?.peers, ['ann']);
});

test('a hub that falls silent is taken out, and comes in again by itself', async (t) => {
  const fleet = new TestReplicas(t);
  const [a, b] = await fleet.start('a', 'b');
  assert.ok(a && b);
  b.line.isCut = true;
  b.age(LAPSE_MS);
  await waitsFor(a);
  await a.owns(1);
  assert.equal(await a.metric('replicas_evictions_total'), 1);
  b.line.isCut = false;
  await Promise.all([a.owns(2), b.owns(2)]);
  assert.equal(await b.metric('replicas_evictions_total'), 0);
});

test('a catalog that is away takes nobody out', async (t) => {
  const fleet = new TestReplicas(t);
  const [a, b] = await fleet.start('a', 'b');
  assert.ok(a && b);
  for (const hub of [a, b]) {
    hub.line.isCut = true;
    hub.age(2 * TAKEOVER_MS);
    hub.sleep(2 * TAKEOVER_MS);
  }
  const epoch = await a.metric('replicas_epoch');
  a.line.isCut = false;
  await a.replicas.refresh();
  b.line.isCut = false;
  await Promise.all([a.owns(2), b.owns(2)]);
  assert.equal(await a.metric('replicas_epoch'), epoch);
});

test('hubs on a catalog of an earlier time come in again and hear each other', async (t) => {
  const store = new MemoryReplicaStore();
  for (let i = 0; i < 9; i += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await store.join({ id: 'former', url: 'http://127.0.0.1:9' }, { max: 9 });
  }
  await store.leave({ id: 'former', joined: 9 });
  const fleet = new TestReplicas(t, { store });
  const [a, b] = await fleet.start('a', 'b');
  assert.ok(a && b);
  const [digest] = fleet.digestsOf('b', 1);
  assert.ok(digest);
  await a.announce('ann', [wish(digest)]);
  const restored = new MemoryReplicaStore();
  for (const { line } of [a, b]) line.store = restored;
  await Promise.all([a.replicas.refresh(), b.replicas.refresh()]);
  await Promise.all([a.owns(2), b.owns(2)]);
  assert.ok((await a.metric('replicas_epoch')) < 9);
  const { blobs } = await a.announce('ben', [wish(digest)]);
  assert.deepEqual(blobs[0]?.peers, ['ann']);
});

test('a hub with the name of another one gets a name of its own', async (t) => {
  const fleet = new TestReplicas(t);
  const [a] = await fleet.start('a');
  assert.ok(a);
  await fleet.store.join({ id: 'a', url: 'http://127.0.0.1:9' }, { max: 9 });
  await a.replicas.refresh();
  const { replicas } = await fleet.store.beat({ id: '', joined: 0, seen: 0 });
  assert.equal(new Set(replicas.map(({ id }) => id)).size, 2);
  await waitsFor(a);
  await a.owns(1);
});

test('a hub too many does not start', async (t) => {
  const fleet = new TestReplicas(t);
  for (let i = 0; i < REPLICAS_MAX; i += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await fleet.store.join({ id: `hub-${i}`, url: 'http://127.0.0.1:9' }, { max: REPLICAS_MAX });
  }
  await assert.rejects(fleet.start('a'), /32 hubs share this catalog already/);
});

test('a hub that leaves while it comes in is not left behind', async (t) => {
  const fleet = new TestReplicas(t);
  await fleet.start('a');
  const b = new TestReplica('b', fleet);
  await b.listen();
  t.after(() => b.close());
  const { store } = fleet;
  const join = store.join.bind(store);
  const [entered, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  t.mock.method(store, 'join', async (...ask: Parameters<typeof join>) => {
    const joined = await join(...ask);
    entered.resolve();
    await answered.promise;
    return joined;
  });
  const refused = assert.rejects(b.replicas.start(), /this hub leaves/);
  await entered.promise;
  const left = b.replicas.leave();
  answered.resolve();
  await Promise.all([refused, left]);
  const { replicas } = await store.beat({ id: '', joined: 0, seen: 0 });
  assert.deepEqual(
    replicas.map(({ id }) => id),
    ['a'],
  );
});
