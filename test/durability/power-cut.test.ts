// The promises of the hub, and the few of an agent, about what a power cut leaves on a real disk.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { loadIdentity } from '../../agent/fleet/identity.ts';
import { DATA_FILE } from '../../agent/store/blob-paths.ts';
import { FsBlob } from '../../agent/store/fs-blob.ts';
import { readAll, sampleOf, StoreFolder, writeChunks } from '../../agent/store/test-store.ts';
import { adminPassword } from '../../hub/access/admin-password.ts';
import { readBlob, storeBlob } from '../../hub/blobs/conformance.ts';
import { FilesystemBlobStore } from '../../hub/blobs/filesystem.ts';
import { StoredFiles, type StoredFile } from '../../hub/blobs/stored-files.ts';
import { loadKeyRing, saveKeyRing } from '../../hub/fleet/key-files.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { makeDurableFolder } from '../../proto/std/durable-folder.ts';
import { PowerCut } from '../rig/power-cut.ts';
import { survives } from './power-cuts.ts';

const BYTES = Buffer.from('bytes that somebody was told are stored');
const logger = createLogger({ level: 'silent', name: 'hub' });

async function fileOf(root: string): Promise<StoredFile> {
  for await (const file of new StoredFiles({ root }).list()) return file;
  throw new Error('no file is among the blobs');
}

async function storeWith(root: string): Promise<FilesystemBlobStore> {
  const store = await FilesystemBlobStore.open({ root });
  await storeBlob(store, BYTES);
  return store;
}

async function bytesIn(root: string): Promise<Buffer | undefined> {
  return readBlob(await FilesystemBlobStore.open({ root }), digestOf(BYTES));
}

test('the rig drops what was not synced, and only that', async (t) => {
  const top = await mkdtemp(path.join(tmpdir(), 'flotilla-power-'));
  t.after(() => rm(top, { recursive: true, force: true }));
  await writeFile(path.join(top, 'before'), 'before');
  using power = await PowerCut.watch(top);
  await rm(path.join(top, 'before'));
  await mkdir(path.join(top, 'after'));
  await power.cut(() => false);
  assert.ok((await stat(path.join(top, 'before'))).isFile());
  await assert.rejects(stat(path.join(top, 'after')), { code: 'ENOENT' });
  await writeFile(path.join(top, 'new'), 'new');
  await power.cut(({ what }) => what === 'name');
  assert.equal((await stat(path.join(top, 'new'))).size, 0);
});

test('a folder that was made to last, and those above it', (t) =>
  survives(t, async (top) => {
    const folder = path.join(top, 'a', 'b', 'c');
    await makeDurableFolder(folder);
    return async () => assert.ok((await stat(folder)).isDirectory());
  }));

test('a blob that was stored is there, one that was removed is not', async (t) => {
  await survives(t, async (top) => {
    await storeWith(path.join(top, 'registry'));
    return async () => assert.deepEqual(await bytesIn(path.join(top, 'registry')), BYTES);
  });
  await survives(t, async (top) => {
    await (await storeWith(top)).remove(digestOf(BYTES));
    return async () => assert.equal(await bytesIn(top), undefined);
  });
});

test('what the check of a hub removed or set aside', async (t) => {
  await survives(t, async (top) => {
    await storeWith(top);
    await new StoredFiles({ root: top }).remove(await fileOf(top));
    return async () => assert.equal(await bytesIn(top), undefined);
  });
  await survives(t, async (top) => {
    await storeWith(top);
    const place = await new StoredFiles({ root: top }).setAside(await fileOf(top));
    return async () => {
      assert.equal(await bytesIn(top), undefined);
      assert.equal((await stat(place)).size, BYTES.length);
    };
  });
});

test('the keys of a fleet, new and changed', async (t) => {
  await survives(t, async (top) => {
    const ring = await loadKeyRing(path.join(top, 'keys'), 1_000);
    return async () => {
      const found = await loadKeyRing(path.join(top, 'keys'), 2_000);
      assert.equal(found.fingerprint(), ring.fingerprint());
    };
  });
  await survives(t, async (top) => {
    const ring = await loadKeyRing(top, 1_000);
    ring.retire('token', 2_000);
    await saveKeyRing(top, ring);
    return async () => assert.equal((await loadKeyRing(top, 3_000)).toPem(), ring.toPem());
  });
});

test('the password that the hub made', (t) =>
  survives(t, async (dataDir) => {
    const password = await adminPassword({}, { dataDir, logger });
    return async () => assert.equal(await adminPassword({}, { dataDir, logger }), password);
  }));

test('the identity of a node', (t) =>
  survives(t, async (top) => {
    const { peerId } = await loadIdentity(path.join(top, 'node'));
    return async () => assert.equal((await loadIdentity(path.join(top, 'node'))).peerId, peerId);
  }));

for (const when of ['at a clean stop', 'while nobody used it']) {
  test(`what an agent saved as flushed ${when}`, async () => {
    await using folder = await StoreFolder.make();
    const { bytes, input } = sampleOf(5);
    const store = await folder.start({ bootId: 'boot-1' });
    using power = await PowerCut.watch(folder.dataDir);
    const blob = await store.create(input);
    assert.ok(blob instanceof FsBlob);
    await writeChunks(blob, bytes);
    if (when === 'while nobody used it') await blob.settle();
    await store.close();
    await power.cut(({ what, path: file }) => what === 'name' || path.basename(file) !== DATA_FILE);
    const found = (await folder.start({ bootId: 'boot-2' })).find(input.digest);
    assert.ok(found?.complete, 'it says so before it was checked');
    assert.ok((await readAll(found)).equals(bytes));
  });
}
