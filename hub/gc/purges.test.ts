import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { GC_LOOK_MS } from './constants.ts';
import { imageOf, TestGc } from './gc-fixture.ts';
import { Purges } from './purges.ts';

const bad = Buffer.from('must not be served');
const good = Buffer.from('harmless');

async function start(t: TestContext): Promise<{ gc: TestGc; purges: Purges }> {
  const gc = await TestGc.start(t);
  const logger = createLogger({ level: 'silent', name: 'test' });
  const { blobs } = gc.registry;
  return { gc, purges: new Purges({ store: gc.store, blobs, logger }) };
}

async function upload(gc: TestGc, bytes: Buffer): Promise<number> {
  const target = `${await gc.registry.open()}?digest=${digestOf(bytes)}`;
  return (await gc.registry.ask(target, { method: 'PUT', body: bytes })).status;
}

test('a blob taken down is gone everywhere and refused until it is lifted', async (t) => {
  const { gc, purges } = await start(t);
  await gc.pushImage([good, bad]);
  await gc.pushImage([bad], 'team/other');
  await purges.purge(digestOf(bad));
  assert.deepEqual([await gc.head(bad), await gc.head(bad, 'team/other')], [404, 404]);
  assert.equal(await gc.isStored(bad), false);
  assert.equal(await gc.head(good), 200);
  assert.equal(await upload(gc, bad), 403);
  const mount = `/v2/team/new/blobs/uploads/?mount=${digestOf(bad)}&from=team/other`;
  assert.equal((await gc.registry.ask(mount, { method: 'POST' })).status, 202);
  assert.equal((await gc.putManifest(imageOf([bad, good]))).status, 404);
  assert.equal(await gc.isStored(bad), false);
  assert.equal(await purges.lift(digestOf(bad)), true);
  assert.equal(await purges.lift(digestOf(bad)), false);
  assert.equal(await upload(gc, bad), 201);
  assert.equal(await gc.head(bad), 200);
});

test('a manifest taken down is not found and not taken again', async (t) => {
  const { gc, purges } = await start(t);
  const image = await gc.pushImage([good]);
  const path = `/v2/team/app/manifests/${image}`;
  assert.equal((await gc.registry.ask(path)).status, 200);
  assert.equal((await purges.purge(image)).known, true);
  assert.equal((await gc.registry.ask(path)).status, 404);
  assert.equal((await gc.putManifest(imageOf([good]))).status, 403);
});

test('who takes down what the hub never had is told so, and it is refused', async (t) => {
  const { gc, purges } = await start(t);
  assert.equal((await purges.purge(digestOf(bad))).known, false);
  assert.equal(await upload(gc, bad), 403);
  await gc.pushImage([good]);
  assert.equal((await purges.purge(digestOf(good))).known, true);
  assert.equal((await purges.purge(digestOf(good))).known, true, 'it had it the first time');
});

test('the list tells hubs and agents apart what they know of', async (t) => {
  const { gc, purges } = await start(t);
  const none = await purges.refresh();
  const { list: one } = await purges.purge(digestOf(bad));
  assert.deepEqual(one.digests, [digestOf(bad)]);
  assert.notEqual(one.version, none.version);
  const logger = createLogger({ level: 'silent', name: 'test' });
  const other = new Purges({ store: gc.store, blobs: gc.registry.blobs, logger });
  assert.deepEqual(await other.refresh(), one);
  await purges.lift(digestOf(bad));
  assert.deepEqual(purges.list, none);
});

test('what is being read when a hub ends is awaited, and nothing is read after it', async (t) => {
  const { gc } = await start(t);
  t.mock.timers.enable({ apis: ['setInterval'] });
  const asked: PromiseWithResolvers<Digest[]>[] = [];
  const purged = () => {
    const answer = Promise.withResolvers<Digest[]>();
    asked.push(answer);
    return answer.promise;
  };
  t.mock.method(gc.store, 'purged', purged);
  const logger = createLogger({ level: 'silent', name: 'test' });
  const following = new Purges({ store: gc.store, blobs: gc.registry.blobs, logger }).follow();
  t.mock.timers.tick(GC_LOOK_MS);
  t.mock.timers.tick(GC_LOOK_MS);
  let ended = false;
  const ending = following[Symbol.asyncDispose]().then(() => (ended = true));
  asked[1]?.resolve([]);
  await new Promise(setImmediate);
  assert.equal(ended, false);
  asked[0]?.reject(new Error('the database is gone'));
  await ending;
  t.mock.timers.tick(GC_LOOK_MS);
  assert.equal(asked.length, 2);
});
