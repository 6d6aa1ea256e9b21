// The collector over PostgreSQL and a bucket that two hubs share.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { S3BlobStore } from '../../../hub/blobs/s3/store.ts';
import { KyselyObjectIndex, type ObjectTables } from '../../../hub/catalog/object-index.ts';
import { openPostgresCatalog } from '../../../hub/catalog/postgres-catalog.ts';
import { KyselyUploadStore, type UploadTables } from '../../../hub/catalog/upload-store.ts';
import { GC_LEASE_MS } from '../../../hub/gc/constants.ts';
import { imageOf, TestGc } from '../../../hub/gc/gc-fixture.ts';
import { raceConformance } from '../../../hub/gc/race-conformance.ts';
import { UPLOAD_IDLE_MS, UPLOAD_ORPHAN_MS } from '../../../hub/registry/constants.ts';
import { OpenUploads } from '../../../hub/registry/open-uploads.ts';
import { digestOf } from '../../../proto/oci/digest.ts';
import { createLogger } from '../../../proto/ops/logger.ts';
import { postgresForTests } from '../../rig/postgres.ts';
import { s3ForTests } from './s3-rig.ts';

const HOUR_MS = 3_600_000;
const { signal } = new AbortController();
const layer = Buffer.from('layer');
const other = Buffer.from('another layer');

const { skip: withoutPostgres, server: postgres } = postgresForTests();
const { skip, server: bucket } = s3ForTests(withoutPostgres);

/** Hubs on one database and one part of the bucket. */
async function hubsOf(t: TestContext, count: number): Promise<TestGc[]> {
  const server = await postgres();
  const database = await server.createDatabase();
  const options = { ...bucket().place(), prefix: `${database}/`, redirect: false };
  const hubs: TestGc[] = [];
  for (let i = 0; i < count; i += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const catalog = await openPostgresCatalog({ ...server.target, database });
    const index = new KyselyObjectIndex({ db: catalog.db.withTables<ObjectTables>() });
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const blobs = await S3BlobStore.open(options, { index });
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    hubs.push(await TestGc.start(t, { catalog, blobs }));
    t.after(async () => {
      await blobs.close();
      await catalog.close();
    });
  }
  return hubs;
}

const noneKnown = async () => new Set<string>();

/** Objects and uploads of these hubs in the bucket, when all that is loose was swept. */
async function stored(hub: TestGc): Promise<number> {
  const { blobs, catalog } = hub.registry;
  await blobs.sweep({ beforeMs: Date.now() + HOUR_MS, known: noneKnown });
  const db = catalog.db.withTables<ObjectTables>();
  const rows = await db.selectFrom('blob_object').selectAll().execute();
  const prefix = rows[0]?.object_key.split('/')[0] ?? 'none';
  const { objects, uploads } = await bucket().keys(`${prefix}/`);
  assert.deepEqual(uploads, []);
  assert.deepEqual(objects.sort(), rows.map(({ object_key: key }) => key).sort());
  return objects.length;
}

raceConformance('two hubs on PostgreSQL and S3', (t) => hubsOf(t, 2), { skip });

test('what one hub collects the other gives back, or removes for good', { skip }, async (t) => {
  const [one, two] = await hubsOf(t, 2);
  assert.ok(one && two);
  const image = await one.pushImage([layer, other]);
  await two.pushImage([other], 'team/other');
  await two.registry.ask(`/v2/team/app/manifests/${image}`, { method: 'DELETE' });
  const keeping = { quarantineMs: HOUR_MS };
  const first = await one.collector(keeping).collect({}, { signal });
  assert.deepEqual([first?.unlinked, first?.quarantined, first?.deleted], [2, 1, 0]);
  assert.deepEqual([await two.head(layer), await two.head(other, 'team/other')], [404, 200]);
  assert.deepEqual(await two.collector().restore(digestOf(layer)), ['team/app']);
  assert.equal(await one.head(layer), 200);
  await two.collector(keeping).collect({}, { signal });
  assert.equal((await one.collector().collect({}, { signal }))?.deleted, 1);
  assert.equal(await one.isStored(layer), false);
  assert.equal(await two.head(other, 'team/other'), 200);
  assert.equal(await stored(two), 1);
});

test('a hub that stood still takes nothing that was pushed since', { skip }, async (t) => {
  const [slow, next] = await hubsOf(t, 2);
  assert.ok(slow && next);
  await slow.registry.push(layer);
  const { blobs, reached, goOn } = slow.standing();
  const late = slow.collector({}, { blobs }).collect({}, { signal });
  await reached;
  next.aheadMs = 2 * GC_LEASE_MS;
  assert.equal((await next.collector().collect({}, { signal }))?.deleted, 1);
  await next.pushImage([layer]);
  goOn();
  await late.catch(() => undefined);
  assert.equal(await next.head(layer), 200);
  assert.equal((await next.registry.ask(`/v2/team/app/blobs/${digestOf(layer)}`)).status, 200);
  assert.equal(await stored(next), 1);
});

test('what hubs left in the bucket goes while they run', { skip }, async (t) => {
  const [one, two] = await hubsOf(t, 2);
  assert.ok(one && two);
  await one.pushImage([layer]);
  await one.strand(other);
  const abandoned = Buffer.alloc(20_000_000, 'sent in parts, and a tail');
  const location = await one.registry.open();
  const sent = await one.registry.ask(location, { method: 'PATCH', body: abandoned });
  assert.equal(sent.status, 202);
  const db = one.registry.catalog.db.withTables<UploadTables>();
  const logger = createLogger({ level: 'silent', name: 'test' });
  const { blobs } = two.registry;
  const uploadsAt = (aheadMs: number): OpenUploads =>
    new OpenUploads(
      { uploadsMax: 10, holder: 'two' },
      {
        blobs,
        store: new KyselyUploadStore({ shared: true }, { db }),
        logger,
        now: () => Date.now() + aheadMs,
      },
    );
  await uploadsAt(UPLOAD_IDLE_MS - HOUR_MS).sweep();
  const half = await two.registry.ask(location, { method: 'PATCH', body: Buffer.alloc(10) });
  assert.equal(half.status, 202, 'another hub goes on with it');
  const begun = await bucket().keys('');
  assert.equal(begun.uploads.length, 1, 'parts of it are in the bucket');
  await uploadsAt(UPLOAD_IDLE_MS + HOUR_MS).sweep();
  for (const { registry } of [one, two]) {
    // oxlint-disable-next-line no-await-in-loop -- each lets go of what it has of the upload
    assert.equal((await registry.ask(location, { method: 'PATCH' })).status, 404);
  }
  await uploadsAt(UPLOAD_IDLE_MS + UPLOAD_ORPHAN_MS + 2 * HOUR_MS).sweep();
  assert.equal(await two.searchOrphans(), 1);
  assert.equal((await two.collector().collect({}, { signal }))?.deleted, 1);
  assert.equal(await stored(two), 1);
  assert.equal(await one.head(layer), 200);
});

test('pulls that began before a collection end whole, and uploads go on', { skip }, async (t) => {
  const [one, two] = await hubsOf(t, 2);
  assert.ok(one && two);
  const big = Buffer.alloc(12 * 1024 * 1024, 'pulled while it is collected');
  await one.registry.push(big);
  const location = await one.registry.open();
  const half = { method: 'PATCH', body: big.subarray(0, 7_000_000) } as const;
  assert.equal((await one.registry.ask(location, half)).status, 202);
  const blob = (await one.registry.blobs.open(digestOf(big))) ?? assert.fail();
  const into = Buffer.alloc(big.length);
  assert.equal(await blob.read(into.subarray(0, 1000), 0), 1000);
  assert.equal((await two.collector().collect({}, { signal }))?.deleted, 1);
  assert.equal(await one.head(big), 404);
  for (let at = 1000; at < big.length;) {
    // oxlint-disable-next-line no-await-in-loop -- one read after the other
    at += await blob.read(into.subarray(at, at + 1024 * 1024), at);
  }
  await blob[Symbol.asyncDispose]();
  assert.ok(into.equals(big));
  const rest = `${location}?digest=${digestOf(big)}`;
  const put = { method: 'PUT', body: big.subarray(7_000_000) } as const;
  assert.equal((await two.registry.ask(rest, put)).status, 201);
  assert.equal((await two.putManifest(imageOf([big]))).status, 201);
  assert.equal(await one.head(big), 200);
});
