import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { imageOf, TestGc } from './gc-fixture.ts';

const HOUR_MS = 3_600_000;
const { signal } = new AbortController();
const base = Buffer.from('base layer');
const own = Buffer.from('own layer');

test('what a manifest of any repository names stays, the rest goes in two steps', async (t) => {
  const gc = await TestGc.start(t);
  const collector = gc.collector({ graceMs: HOUR_MS, quarantineMs: HOUR_MS });
  const image = await gc.pushImage([base, own]);
  await gc.pushImage([base], 'team/other');
  await gc.registry.ask(`/v2/team/app/manifests/${image}`, { method: 'DELETE' });
  assert.equal((await collector.collect({}, { signal }))?.unlinked, 0, 'within the grace period');
  gc.aheadMs = HOUR_MS + 1;
  const first = await collector.collect({}, { signal });
  assert.deepEqual(
    [first?.unlinked, first?.quarantined, first?.quarantinedBytes, first?.deleted],
    [2, 1, own.length, 0],
  );
  assert.deepEqual(
    [await gc.head(base), await gc.head(own), await gc.head(base, 'team/other')],
    [404, 404, 200],
  );
  assert.ok(await gc.isStored(own), 'bytes in quarantine are kept');
  gc.aheadMs = 2 * HOUR_MS + 2;
  const second = await collector.collect({}, { signal });
  assert.deepEqual([second?.deleted, second?.deletedBytes], [1, own.length]);
  assert.deepEqual([await gc.isStored(own), await gc.isStored(base)], [false, true]);
  assert.equal(await gc.head(base, 'team/other'), 200);
});

test('the list of garbage tells what would go, page by page, and takes nothing', async (t) => {
  const gc = await TestGc.start(t);
  await gc.registry.push(own);
  await gc.pushImage([base]);
  const [unused, ...rest] = await gc.garbage();
  assert.deepEqual(
    [unused?.kind, unused?.repository, unused?.digest, unused?.size, rest],
    ['repository-blob', 'team/app', digestOf(own), own.length, []],
  );
  assert.equal(await gc.head(own), 200);
  assert.deepEqual(await gc.garbage({ graceMs: HOUR_MS }), []);
  await gc.collector({ quarantineMs: HOUR_MS }).collect({}, { signal });
  const more = Array.from({ length: 5 }, (_, i) => Buffer.from(`layer ${i}`));
  for (const layer of more) await gc.registry.push(layer);
  const pages = await gc.garbage({}, 2);
  assert.deepEqual(
    pages.map(({ kind, digest }) => `${kind} ${digest}`).sort(),
    [...more.map((one) => `repository-blob ${digestOf(one)}`), `blob ${digestOf(own)}`].sort(),
  );
  assert.ok(await gc.isStored(own));
});

test('a blob in quarantine comes back by an upload, or by hand to all who had it', async (t) => {
  const gc = await TestGc.start(t);
  const collector = gc.collector({ quarantineMs: HOUR_MS });
  await gc.registry.push(base);
  await gc.registry.push(own);
  await gc.registry.push(own, 'team/other');
  await collector.collect({}, { signal });
  assert.deepEqual([await gc.head(base), await gc.head(own)], [404, 404]);
  const mount = `/v2/team/new/blobs/uploads/?mount=${digestOf(own)}&from=team/app`;
  const answer = await gc.registry.ask(mount, { method: 'POST' });
  assert.equal(answer.status, 202, 'a client is told to upload it');
  await gc.registry.push(base);
  assert.equal(await gc.head(base), 200);
  assert.deepEqual(await collector.restore(digestOf(own)), ['team/app', 'team/other']);
  assert.deepEqual([await gc.head(own), await gc.head(own, 'team/other')], [200, 200]);
  await assert.rejects(collector.restore(digestOf(own)), { code: 'NOT_IN_QUARANTINE' });
});

test('a client that is told a blob is there has the grace period to use it', async (t) => {
  const gc = await TestGc.start(t);
  const collector = gc.collector({ graceMs: HOUR_MS });
  await gc.registry.push(own);
  const realNow = Date.now;
  t.after(() => (Date.now = realNow));
  Date.now = () => realNow() + HOUR_MS;
  assert.equal(await gc.head(own), 200);
  assert.equal((await collector.collect({}, { signal }))?.unlinked, 0);
  Date.now = () => realNow() + 2 * HOUR_MS + 1;
  assert.equal((await collector.collect({}, { signal }))?.unlinked, 1);
});

test('one collection goes on at a time, and none sooner than asked', async (t) => {
  const gc = await TestGc.start(t);
  await gc.registry.push(own);
  const { blobs, reached, goOn } = gc.standing();
  const first = gc.collector({}, { blobs }).collect({}, { signal });
  await reached;
  assert.equal(await gc.collector().collect({}, { signal }), undefined);
  goOn();
  assert.equal((await first)?.deleted, 1);
  assert.equal(await gc.collector().collect({ unlessWithinMs: HOUR_MS }, { signal }), undefined);
  assert.notEqual(await gc.collector().collect({}, { signal }), undefined);
});

test('killed between any two steps, the next collection finishes the work', async (t) => {
  const gc = await TestGc.start(t);
  const layers = Array.from({ length: 5 }, (_, i) => Buffer.from(`layer ${i}`));
  for (const layer of layers) await gc.registry.push(layer);
  for (let steps = 0; steps < 5; steps += 1) {
    const killed = gc.collector({}, { blobs: killedAfter(steps, gc) });
    await killed.collect({}, { signal }).catch(() => undefined);
  }
  const fresh = Buffer.from('fresh');
  await gc.pushImage([fresh]);
  await gc.collector().collect({}, { signal });
  for (const layer of layers) assert.equal(await gc.isStored(layer), false);
  assert.equal(await gc.head(fresh), 200);
});

function killedAfter(steps: number, gc: TestGc) {
  let left = steps;
  return {
    remove: async (digest: ReturnType<typeof digestOf>) => {
      left -= 1;
      if (left < 0) throw new Error('the process is gone');
      return gc.registry.blobs.remove(digest);
    },
  };
}

test('an upload that meets the removal of its bytes waits, and is there afterwards', async (t) => {
  const gc = await TestGc.start(t);
  await gc.registry.push(own);
  const { blobs, reached, goOn } = gc.standing();
  const collecting = gc.collector({}, { blobs }).collect({}, { signal });
  await reached;
  const pushing = gc.registry.push(own);
  goOn();
  await collecting;
  await pushing;
  assert.ok(await gc.isStored(own));
  assert.equal((await gc.putManifest(imageOf([own]))).status, 201);
});

test('bytes being uploaded again are pinned against removal', async (t) => {
  const gc = await TestGc.start(t);
  await gc.registry.push(own);
  await gc.collector({ quarantineMs: HOUR_MS }).collect({}, { signal });
  assert.equal(await gc.registry.catalog.pinBlob(digestOf(own)), 'pinned');
  assert.equal((await gc.collector().collect({}, { signal }))?.deleted, 0);
  assert.ok(await gc.isStored(own));
  gc.aheadMs = HOUR_MS;
  assert.equal((await gc.collector().collect({}, { signal }))?.deleted, 1);
});

test('a blob collected after the manifest was checked is missed, or kept', async (t) => {
  const gc = await TestGc.start(t);
  const { catalog } = gc.registry;
  const put = catalog.putManifest.bind(catalog);
  await gc.registry.push(own);
  catalog.putManifest = async (manifest) => {
    await gc.collector().collect({}, { signal });
    return put(manifest);
  };
  assert.equal((await gc.putManifest(imageOf([own]))).status, 404, 'its blob is gone');
  catalog.putManifest = async (manifest) => {
    await put(manifest);
    await gc.collector().collect({}, { signal });
  };
  await gc.registry.push(own);
  assert.equal((await gc.putManifest(imageOf([own]))).status, 201);
  assert.equal(await gc.head(own), 200);
});

test('a blob whose bytes are on their way out is neither recorded nor mounted', async (t) => {
  const gc = await TestGc.start(t);
  const { catalog } = gc.registry;
  const digest = digestOf(own);
  await gc.registry.push(own);
  await gc.collector({ quarantineMs: HOUR_MS }).collect({}, { signal });
  assert.equal(await catalog.linkBlob('team/new', digest), false);
  const times = { beforeMs: Date.now(), nowMs: Date.now() };
  const idle = await gc.store.idleBlobs({ ...times, max: 9 });
  assert.deepEqual(await gc.store.claimBlobs(idle, { ...times, claim: 1 }), [digest]);
  const adding = catalog.addBlob({ digest, size: own.length }, 'team/app');
  await assert.rejects(adding, { data: { code: 'BLOB_LEAVING', digest } });
  await assert.rejects(catalog.pinBlob(digest), { data: { code: 'BLOB_LEAVING', digest } });
});
