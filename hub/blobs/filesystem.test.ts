import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import {
  blobStoreConformance,
  PENDING_MAX_OF_RIG,
  readBlob,
  storeBlob,
  type BlobStoreRig,
} from './conformance.ts';
import { FilesystemBlobStore } from './filesystem.ts';
import { DiskError, MemoryDisk, type Operation } from './memory-disk.ts';

const ROOT = '/data/registry';
const OPTIONS = { root: ROOT, pendingMax: PENDING_MAX_OF_RIG };
const OLD = Buffer.from('stored before the fault');
const NEW = Buffer.from('stored while the disk fails');
const UPLOADS = /\/uploads\//;

async function filesystemRig(): Promise<BlobStoreRig> {
  const root = await mkdtemp(path.join(tmpdir(), 'flotilla-blobs-'));
  const opened: FilesystemBlobStore[] = [];
  const open = async () => {
    const store = await FilesystemBlobStore.open({ root, pendingMax: PENDING_MAX_OF_RIG });
    opened.push(store);
    return store;
  };
  return {
    store: await open(),
    reopen: open,
    leftovers: () => readdir(path.join(root, 'uploads')),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(opened.map((store) => store.close()));
      await rm(root, { recursive: true });
    },
  };
}

async function memoryRig(): Promise<BlobStoreRig> {
  const disk = new MemoryDisk();
  const open = () => FilesystemBlobStore.open(OPTIONS, { files: disk });
  return {
    store: await open(),
    reopen: open,
    leftovers: async () => disk.files(`${ROOT}/uploads`),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

blobStoreConformance('filesystem', filesystemRig);
blobStoreConformance('filesystem on a disk in memory', memoryRig);

async function tolerated(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (err: unknown) => err,
  );
}

async function knownNone(): Promise<ReadonlySet<string>> {
  return new Set();
}

/** Everything a store does. A fault ends one step, not the store. */
async function useStore(store: FilesystemBlobStore): Promise<unknown[]> {
  const faults = [await tolerated(storeBlob(store, NEW, [3]))];
  faults.push(await tolerated(readBlob(store, digestOf(OLD))));
  faults.push(await tolerated(store.stat(digestOf(OLD))));
  const pending = await store.begin().catch((err: unknown) => void faults.push(err));
  faults.push(await tolerated(Promise.resolve(pending?.append([NEW]))));
  const state = faults.at(-1) ? '' : await pending?.park();
  await pending?.release();
  const resumed = await store.resume(state ?? '').catch((err: unknown) => void faults.push(err));
  await resumed?.discard();
  faults.push(await tolerated(store.sweep({ beforeMs: Date.now() + 1_000, known: knownNone })));
  faults.push(await tolerated(store.remove(digestOf(NEW))));
  return faults.filter((fault) => fault !== undefined);
}

async function operationsOf(run: (disk: MemoryDisk) => Promise<unknown>): Promise<Operation[]> {
  const disk = new MemoryDisk();
  const store = await FilesystemBlobStore.open(OPTIONS, { files: disk });
  await storeBlob(store, OLD);
  const seen: Operation[] = [];
  disk.before = (operation) => void seen.push(operation);
  await run(disk);
  return seen;
}

function assertStoreFault(fault: unknown, code: string): void {
  const expected = code === 'ENOSPC' || code === 'EDQUOT' ? 'NO_SPACE' : 'STORE_IO';
  assert.ok(hasCode(fault, expected), `${code} became ${String(fault)}`);
  assert.ok(fault instanceof Error && fault.message.includes(ROOT), 'the fault names the place');
}

for (const code of ['ENOSPC', 'EDQUOT', 'EIO']) {
  test(`${code} at any operation is told, hides nothing and ends nothing`, async () => {
    const disk = new MemoryDisk();
    const first = await FilesystemBlobStore.open(OPTIONS, { files: disk });
    await storeBlob(first, OLD);
    const { length } = await operationsOf(async (other) =>
      useStore(await FilesystemBlobStore.open(OPTIONS, { files: other })),
    );
    assert.ok(length > 25);
    for (let at = 0; at < length; at += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one fault after the other
      await failAt(at, code);
    }
  });
}

async function failAt(at: number, code: string): Promise<void> {
  const disk = new MemoryDisk();
  await storeBlob(await FilesystemBlobStore.open(OPTIONS, { files: disk }), OLD);
  let count = 0;
  let failed = '';
  disk.before = ({ name, path: place }) => {
    count += 1;
    if (count - 1 !== at) return;
    failed = `${name} ${place}`;
    throw new DiskError(code, place);
  };
  let store: FilesystemBlobStore | undefined;
  try {
    store = await FilesystemBlobStore.open(OPTIONS, { files: disk });
  } catch (err) {
    assertStoreFault(err, code);
    disk.before = () => undefined;
    store = await FilesystemBlobStore.open(OPTIONS, { files: disk });
  }
  const faults = await useStore(store);
  for (const fault of faults) assertStoreFault(fault, code);
  assert.ok(faults.length <= 1, `${failed}: ${faults.join('; ')}`);
  disk.before = () => undefined;
  assert.deepEqual(await readBlob(store, digestOf(OLD)), OLD, failed);
  const found = await readBlob(store, digestOf(NEW));
  assert.ok(found === undefined || found.equals(NEW), failed);
  assert.equal(disk.openFiles, 0, `${failed}: every file is closed`);
  await fillUp(store);
  const next = await FilesystemBlobStore.open(OPTIONS, { files: disk });
  await next.sweep({ beforeMs: Number.POSITIVE_INFINITY, known: knownNone });
  assert.deepEqual(
    disk.files().filter((file) => UPLOADS.test(file)),
    [],
  );
}

/** A fault that leaks its place among the blobs in the making would show here. */
async function fillUp(store: FilesystemBlobStore): Promise<void> {
  const all = await Promise.all(Array.from({ length: PENDING_MAX_OF_RIG }, () => store.begin()));
  await Promise.all(all.map((pending) => pending.discard()));
  await storeBlob(store, NEW);
  assert.deepEqual(await readBlob(store, digestOf(NEW)), NEW);
}

test('a disk that takes a part of each write and then no more is full, not corrupt', async () => {
  const disk = new MemoryDisk();
  const store = await FilesystemBlobStore.open(OPTIONS, { files: disk });
  disk.writeMax = 4;
  const digest = await storeBlob(store, OLD, [1, 2]);
  assert.deepEqual(await readBlob(store, digest), OLD);
  let writes = 0;
  disk.before = ({ name, path: place }) => {
    if (name === 'write' && (writes += 1) > 3) throw new DiskError('ENOSPC', place);
  };
  const pending = await store.begin();
  await assert.rejects(pending.append([NEW]), (err) => hasCode(err, 'NO_SPACE'));
  await assert.rejects(pending.commit(digestOf(NEW)), (err) => hasCode(err, 'PENDING_CLOSED'));
  await pending.discard();
  assert.equal(await store.stat(digestOf(NEW)), undefined);
  disk.before = () => undefined;
  disk.writeMax = 0;
  await assert.rejects(storeBlob(store, NEW), (err) => hasCode(err, 'STORE_IO'));
});

test('a place that cannot hold blobs is told when the store is opened', async () => {
  const root = await mkdtemp(path.join(tmpdir(), 'flotilla-blobs-'));
  await writeFile(path.join(root, 'blobs'), 'a file where a folder should be');
  await assert.rejects(FilesystemBlobStore.open({ root }), (err: Error) => {
    assert.ok(hasCode(err, 'STORE_IO') && err.message.includes(root), String(err));
    return true;
  });
  await rm(root, { recursive: true });
});
