// What the S3 driver promises beyond what every blob store does.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { DeleteObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import { request } from 'undici';
import { readBlob, storeBlob } from '../../../hub/blobs/conformance.ts';
import { S3BlobStore } from '../../../hub/blobs/s3/store.ts';
import { KyselyObjectIndex, type ObjectTables } from '../../../hub/catalog/object-index.ts';
import { digestOf, type Digest } from '../../../proto/oci/digest.ts';
import { BUCKET, PART_BYTES, type S3Rig, type S3Server } from './s3-rig.ts';

type Options = { skip: string | false; server: () => S3Server };

async function keyOf(rig: S3Rig, digest: Digest): Promise<string> {
  const row = await rig.catalog.db
    .withTables<ObjectTables>()
    .selectFrom('blob_object')
    .select('object_key')
    .where('digest', '=', digest)
    .executeTakeFirstOrThrow();
  return row.object_key;
}

function twoParts(count: number): number | undefined {
  return count < 2 ? PART_BYTES : undefined;
}

/** As long after everything that nobody goes on with any of it. */
function sweepAll(store: S3BlobStore): Promise<number> {
  return store.sweep({ beforeMs: Number.MAX_SAFE_INTEGER, known: async () => new Set() });
}

/** Its database goes away at every commit, after it was done or before. */
class CutOffIndex extends KyselyObjectIndex {
  done = true;

  override async commit(...args: Parameters<KyselyObjectIndex['commit']>): Promise<never> {
    if (this.done) await super.commit(...args);
    throw new Error('the connection was lost');
  }
}

export function driverChecks(options: Options): void {
  checkParts(options);
  checkLoss(options);
  checkDoubt(options);
  checkAbsence(options);
}

function checkParts({ skip, server }: Options): void {
  test(
    's3: a large blob is sent in parts, whoever goes on with it and wherever',
    { skip },
    async () => {
      await using rig = await server().rig();
      const sizes = [PART_BYTES - 1, 1, 2 * PART_BYTES + 7, 3, PART_BYTES, 100_000];
      const parts = sizes.map((size) => randomBytes(size));
      let store: S3BlobStore = rig.store;
      let state = await (await store.begin()).park();
      for (const part of parts) {
        store = await rig.reopen();
        const pending = await store.resume(state);
        assert.ok(pending);
        for (let at = 0; at < part.length; at += 1_000_003) {
          await pending.append([part.subarray(at, at + 1_000_003)]);
        }
        state = await pending.park();
        assert.ok(state.length < 500, 'the state does not grow with the blob');
        // What nobody was told of fills a part that the next process sends again.
        await pending.append([randomBytes(PART_BYTES)]);
      }
      const pending = await (await rig.reopen()).resume(state);
      const bytes = Buffer.concat(parts);
      assert.equal(pending?.size, bytes.length);
      await pending?.commit(digestOf(bytes));
      assert.ok((await readBlob(store, digestOf(bytes)))?.equals(bytes));
      const at = { Bucket: BUCKET, Key: await keyOf(rig, digestOf(bytes)) };
      const { ETag = '' } = await server().client.send(new HeadObjectCommand(at));
      assert.match(ETag, /-5"$/, 'one object of five parts');
      await sweepAll(await rig.reopen());
      assert.deepEqual(await rig.leftovers(), []);
      assert.ok((await readBlob(store, digestOf(bytes)))?.equals(bytes), 'a sweep spares blobs');
    },
  );

  test('s3: a blob read back before its commit is the same blob afterwards', { skip }, async () => {
    await using rig = await server().rig();
    for (const size of [0, 1_000, PART_BYTES, PART_BYTES + 1]) {
      const bytes = randomBytes(size);
      const pending = await rig.store.begin();
      await pending.append([bytes]);
      const back = Buffer.alloc(size + 1);
      assert.equal(await pending.read(back, 0), size);
      assert.ok(back.subarray(0, size).equals(bytes));
      await assert.rejects(pending.append([bytes]), { code: 'PENDING_CLOSED' });
      await pending.commit(digestOf(bytes));
      assert.ok((await readBlob(rig.store, digestOf(bytes)))?.equals(bytes));
    }
    assert.deepEqual(await rig.leftovers(), []);
  });

  test('s3: a blob that has no room in the parts there are is refused', { skip }, async () => {
    await using rig = await server().rig({ partBytes: twoParts });
    assert.equal(rig.store.sizeMax, 2 * PART_BYTES);
    const bytes = randomBytes(2 * PART_BYTES);
    await storeBlob(rig.store, bytes, [PART_BYTES + 1]);
    assert.ok((await readBlob(rig.store, digestOf(bytes)))?.equals(bytes));
    const pending = await rig.store.begin();
    await pending.append([bytes]);
    await assert.rejects(pending.append([Buffer.alloc(1)]), { code: 'TOO_LARGE' });
    await pending.discard();
  });
}

function checkLoss({ skip, server }: Options): void {
  test(
    's3: a blob whose object is lost is said to be, and can be stored again',
    { skip },
    async () => {
      await using rig = await server().rig();
      const bytes = randomBytes(1_000);
      const digest = await storeBlob(rig.store, bytes);
      const Key = await keyOf(rig, digest);
      await server().client.send(new DeleteObjectCommand({ Bucket: BUCKET, Key }));
      await using blob = await rig.store.open(digest);
      assert.equal(await blob?.expect?.({ start: 0, end: 10 }), false);
      await assert.rejects(Promise.resolve(blob?.read(Buffer.alloc(10), 0)), { code: 'STORE_IO' });
      await storeBlob(rig.store, bytes);
      assert.deepEqual(await readBlob(rig.store, digest), bytes);
    },
  );

  test(
    's3: with redirects, the address of a blob gives its bytes to anybody',
    { skip },
    async () => {
      await using rig = await server().rig({ redirect: true });
      const bytes = randomBytes(1_000);
      const address = await rig.store.addressOf(await storeBlob(rig.store, bytes));
      const { body, statusCode } = await request(String(address), {
        headers: { range: 'bytes=9-' },
      });
      assert.equal(statusCode, 206);
      assert.deepEqual(Buffer.from(await body.arrayBuffer()), bytes.subarray(9));
      assert.equal(await rig.store.addressOf(digestOf(randomBytes(1))), undefined);
      await using other = await server().rig();
      assert.equal(await other.store.addressOf(await storeBlob(other.store, bytes)), undefined);
    },
  );
}

function checkDoubt({ skip, server }: Options): void {
  test(
    's3: a commit of which nobody knows whether it was done takes no blob from another hub',
    { skip },
    async (t) => {
      await using rig = await server().rig();
      const index = new CutOffIndex({ db: rig.catalog.db.withTables<ObjectTables>() });
      const place = { ...server().place(), prefix: rig.prefix, redirect: false };
      const hub = await S3BlobStore.open(place, { index });
      t.after(() => hub.close());
      for (const parks of [true, false]) {
        for (const done of [true, false]) {
          const bytes = randomBytes(1_000);
          const pending = await hub.begin();
          await pending.append([bytes]);
          if (parks) await pending.park();
          index.done = done;
          await assert.rejects(pending.commit(digestOf(bytes)), /the connection was lost/);
          await storeBlob(rig.store, bytes);
          await pending.discard();
          assert.deepEqual(await readBlob(rig.store, digestOf(bytes)), bytes);
        }
      }
      await sweepAll(rig.store);
      assert.deepEqual(await rig.leftovers(), []);
    },
  );
}

function checkAbsence({ skip, server }: Options): void {
  test(
    's3: while the storage is away every call says so, and later all goes on',
    { skip },
    async () => {
      await using rig = await server().rig();
      const { store } = rig;
      const stored = randomBytes(1_000);
      const digest = await storeBlob(store, stored);
      const [small, large] = [randomBytes(10), randomBytes(PART_BYTES + 1)];
      const pending = await store.begin();
      await pending.append([small]);
      const state = await pending.park();
      await server().gateway.away();
      try {
        const away = { code: 'STORE_AWAY' };
        await using blob = await store.open(digest);
        await assert.rejects(Promise.resolve(blob?.expect?.({ start: 0, end: 10 })), away);
        await assert.rejects(Promise.resolve(blob?.read(Buffer.alloc(10), 0)), away);
        await assert.rejects(pending.append([large]), away);
        await pending.release();
        await assert.rejects(store.resume(state), away);
        await assert.rejects(storeBlob(store, large), away);
        await assert.rejects(store.probe(), away);
        await assert.rejects(sweepAll(store), away);
      } finally {
        await server().gateway.back();
      }
      await store.probe();
      assert.deepEqual(await readBlob(store, digest), stored);
      const again = await store.resume(state);
      await again?.append([large]);
      const bytes = Buffer.concat([small, large]);
      await again?.commit(digestOf(bytes));
      assert.ok((await readBlob(store, digestOf(bytes)))?.equals(bytes));
      await sweepAll(store);
      assert.deepEqual(await rig.leftovers(), []);
    },
  );
}
