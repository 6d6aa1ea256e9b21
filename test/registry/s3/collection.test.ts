// The collector over PostgreSQL and a bucket that two hubs share.
import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import { S3BlobStore } from '../../../hub/blobs/s3/store.ts';
import { KyselyObjectIndex, type ObjectTables } from '../../../hub/catalog/object-index.ts';
import { openPostgresCatalog } from '../../../hub/catalog/postgres-catalog.ts';
import { GC_LEASE_MS } from '../../../hub/gc/constants.ts';
import { imageOf, TestGc } from '../../../hub/gc/gc-fixture.ts';
import { raceConformance } from '../../../hub/gc/race-conformance.ts';
import { digestOf, type Digest } from '../../../proto/oci/digest.ts';
import { postgresForTests } from '../../rig/postgres.ts';
import { missingForRadosgw } from '../../rig/radosgw.ts';
import { S3Server } from './s3-rig.ts';

const HOUR_MS = 3_600_000;
const { signal } = new AbortController();
const layer = Buffer.from('layer');
const other = Buffer.from('another layer');

const { skip: withoutPostgres, server: postgres } = postgresForTests();
const skip = withoutPostgres === false ? missingForRadosgw() : withoutPostgres;
let starting: Promise<S3Server> | undefined;

before(async () => {
  if (skip !== false) return;
  starting = S3Server.start();
  await starting;
});
after(async () => {
  const begun = await starting?.catch(() => undefined);
  await begun?.[Symbol.asyncDispose]();
});

/** Hubs on one database and one part of the bucket. */
async function hubsOf(t: TestContext, count: number): Promise<TestGc[]> {
  const [server, bucket] = [await postgres(), await starting];
  assert.ok(bucket);
  const database = await server.createDatabase();
  const options = { ...bucket.place(), prefix: `${database}/`, redirect: false };
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
  const bucket = await starting;
  const { blobs, catalog } = hub.registry;
  await blobs.sweep({ beforeMs: Date.now() + HOUR_MS, known: noneKnown });
  const db = catalog.db.withTables<ObjectTables>();
  const rows = await db.selectFrom('blob_object').selectAll().execute();
  const prefix = rows[0]?.object_key.split('/')[0] ?? 'none';
  const { objects, uploads } = (await bucket?.keys(`${prefix}/`)) ?? assert.fail();
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
  const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const { blobs } = slow.registry;
  const standing = {
    nameOf: (digest: Digest) => blobs.nameOf?.(digest) ?? assert.fail(),
    remove: async (digest: Digest, name?: string) => {
      reached.resolve();
      await goOn.promise;
      return blobs.remove(digest, name);
    },
  };
  const late = slow.collector({}, { blobs: standing }).collect({}, { signal });
  await reached.promise;
  next.aheadMs = 2 * GC_LEASE_MS;
  assert.equal((await next.collector().collect({}, { signal }))?.deleted, 1);
  await next.pushImage([layer]);
  goOn.resolve();
  await late.catch(() => undefined);
  assert.equal(await next.head(layer), 200);
  assert.equal((await next.registry.ask(`/v2/team/app/blobs/${digestOf(layer)}`)).status, 200);
  assert.equal(await stored(next), 1);
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
