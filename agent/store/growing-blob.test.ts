import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { HASH_BYTES } from '../../proto/chunks/merkle.ts';
import { BlobPaths } from './blob-paths.ts';
import type { FsContentStore } from './content-store.ts';
import type { GrowingBlob } from './port.ts';
import { readAll, StoreFolder, sampleOf, writeChunks, type Sample } from './test-store.ts';

const sample = sampleOf(7);
const { bytes, input } = sample;
const { digest, size, hashes } = input;
const SESSIONS = [randomBytes(16), randomBytes(16)] as const;
const missing = { code: 'NOT_VERIFIED' };

function grow(store: FsContentStore, of: Sample = sample): Promise<GrowingBlob> {
  return store.grow({ ...of.input, session: SESSIONS[0] });
}

/** The hashes of chunks from `first` to before `end`. */
function row(first: number, end: number, of = hashes): Buffer {
  return of.subarray(first * HASH_BYTES, end * HASH_BYTES);
}

test('its file, which may be written over, is lent to nobody', async () => {
  await using folder = await StoreFolder.make();
  const blob = await grow(await folder.start());
  assert.ok(!('withFile' in blob));
});

test('chunks can be written and read once their hash is known, under no name', async () => {
  await using folder = await StoreFolder.make();
  const store = await folder.start();
  const blob = await grow(store);
  assert.equal(blob.pending.count, 8);
  const told: number[] = [];
  blob.onChange((index) => told.push(index));
  blob.learn(0, row(0, 3));
  assert.deepEqual([...blob.pending.present()], [3, 4, 5, 6, 7]);
  await writeChunks(blob, bytes, [0, 2]);
  assert.deepEqual(told, [0, 1, 2, 0, 2]);
  const into = Buffer.alloc(10);
  await blob.read(into, 2 * LEAF_BYTES);
  assert.ok(into.equals(bytes.subarray(2 * LEAF_BYTES, 2 * LEAF_BYTES + 10)));
  await assert.rejects(blob.read(into, LEAF_BYTES), missing);
  assert.equal(store.find(digest), undefined);
  assert.equal(blob.complete, false);
  assert.equal(blob.servable, false);
  assert.equal(store.growing(digest), blob);
});

test('settled, it is a blob like any other with the chunks it had, and goes on', async () => {
  await using folder = await StoreFolder.make();
  const store = await folder.start();
  const blob = await grow(store);
  blob.learn(0, row(0, 6));
  await writeChunks(blob, bytes, [0, 1, 5]);
  using hold = blob.retain();
  void hold;
  const told: number[] = [];
  blob.onChange((index) => told.push(index));
  await blob.settle(input, (others) => assert.equal(others, 0));
  assert.ok(told.includes(6) && told.includes(7), 'their hashes are known now');
  const stored = store.find(digest);
  assert.ok(stored);
  assert.deepEqual([...stored.have.present()], [0, 1, 5]);
  assert.ok(stored.statement.equals(input.statement));
  await writeChunks(blob, bytes, [2, 3, 4, 6, 7]);
  assert.ok(blob.complete && stored.complete);
  assert.ok((await readAll(blob)).equals(bytes));
  assert.ok((await readAll(stored)).equals(bytes));
  assert.equal(store.stats().reservedBytes, size);
});

test('all chunks are not the blob before it is settled', async () => {
  await using folder = await StoreFolder.make();
  const store = await folder.start();
  const blob = await grow(store);
  blob.learn(0, hashes);
  await writeChunks(blob, bytes);
  assert.equal(blob.have.complete, true);
  assert.equal(blob.complete, false);
  let isTold = false;
  blob.onChange(() => (isTold ||= blob.complete));
  await blob.settle(input);
  assert.ok(isTold);
  await store.close();
  const again = await folder.start();
  assert.equal(again.find(digest)?.complete, true);
});

test('dropped, nothing is left of it, and readers are told', async () => {
  await using folder = await StoreFolder.make();
  const store = await folder.start();
  const blob = await grow(store);
  blob.learn(0, hashes);
  await writeChunks(blob, bytes);
  assert.equal(store.stats().reservedBytes, size);
  await blob.discard();
  assert.equal(store.growing(digest), undefined);
  assert.equal(store.stats().reservedBytes, 0);
  assert.deepEqual(await readdir(new BlobPaths(folder.dataDir).temporaryFolder), []);
  assert.equal(blob.have.count, 0);
  await assert.rejects(blob.read(Buffer.alloc(1), 0), { code: 'EVICTED' });
  await assert.rejects(blob.settle(input), { code: 'EVICTED' });
  assert.equal(store.find(digest), undefined);
});

test('a crash before it is settled leaves nothing', async () => {
  await using folder = await StoreFolder.make();
  const blob = await grow(await folder.start());
  blob.learn(0, hashes);
  await writeChunks(blob, bytes);
  const again = await folder.start();
  assert.equal(again.find(digest), undefined);
  assert.equal(again.stats().reservedBytes, 0);
  assert.deepEqual(await readdir(new BlobPaths(folder.dataDir).temporaryFolder), []);
});

test('of another session what it says the same of counts again, the rest is dropped', async () => {
  await using folder = await StoreFolder.make();
  const store = await folder.start();
  const blob = await grow(store);
  blob.learn(0, row(0, 6));
  await writeChunks(blob, bytes, [0, 1, 2, 4]);
  await blob.renew(SESSIONS[1]);
  assert.ok(blob.session.equals(SESSIONS[1]));
  assert.equal(blob.have.count, 0);
  assert.equal(blob.pending.count, 8);
  await assert.rejects(blob.read(Buffer.alloc(1), 0), missing);
  const other = Buffer.from(row(0, 4));
  other[HASH_BYTES] = (other[HASH_BYTES] ?? 0) ^ 1;
  assert.equal(blob.learn(0, other), 1, 'chunk 1 is another one now');
  assert.deepEqual([...blob.have.present()], [0, 2]);
  await blob.settle(input, (others) => assert.equal(others, 0));
  assert.deepEqual([...blob.have.present()], [0, 2, 4], 'the statement says the same of chunk 4');
});

test('what was checked in a session that is over is not written into the next one', async () => {
  await using folder = await StoreFolder.make();
  const blob = await grow(await folder.start());
  blob.learn(0, row(0, 2));
  const writing = writeChunks(blob, bytes, [1]);
  const renewed = blob.renew(SESSIONS[1]);
  const late = writeChunks(blob, bytes, [0]);
  await writing;
  await renewed;
  await assert.rejects(late, missing);
  assert.equal(blob.have.count, 0);
  blob.learn(0, row(0, 2));
  assert.deepEqual([...blob.have.present()], [1]);
});

test('a statement that says otherwise takes back what was had', async () => {
  await using folder = await StoreFolder.make();
  const store = await folder.start();
  const blob = await grow(store);
  const wrong = sampleOf(7);
  blob.learn(0, row(0, 4, wrong.input.hashes));
  await writeChunks(blob, wrong.bytes, [0, 3]);
  let taken = 0;
  await blob.settle(input, (others) => {
    taken = others;
    assert.equal(store.find(digest), undefined, 'nobody has seen it yet');
  });
  assert.equal(taken, 2);
  assert.equal(store.find(digest)?.have.count, 0);
  await writeChunks(blob, bytes);
  assert.ok((await readAll(blob)).equals(bytes));
});

test('settled beside a blob that is all here, it is that one', async () => {
  await using folder = await StoreFolder.make();
  const store = await folder.start();
  const blob = await grow(store);
  blob.learn(0, row(0, 2));
  await writeChunks(blob, bytes, [0]);
  await writeChunks(await store.create(input), bytes);
  await blob.settle(input);
  assert.equal(blob.complete, true);
  assert.equal(blob.have.complete, true);
  assert.ok((await readAll(blob)).equals(bytes));
});

test('while it grows its room is taken, and what is too much is refused', async () => {
  await using folder = await StoreFolder.make();
  const store = await folder.start({ quotaBytes: size + 10 });
  const blob = await grow(store);
  await assert.rejects(grow(store, sampleOf(7)), { code: 'STORE_FULL' });
  await blob.discard();
  await grow(store, sampleOf(7));
});
