import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { readBlob, storeBlob } from './conformance.ts';
import { FilesystemBlobStore } from './filesystem.ts';
import { DiskError, MemoryDisk, type Operation, type Survival } from './memory-disk.ts';

const ROOT = '/srv/hub/registry';
const SEEDS = [1, 2, 3, 4];
const KEPT = ['one', 'two', 'three', 'four'].map((text) => Buffer.from(`kept ${text}`));
const [TWICE = Buffer.alloc(0)] = KEPT;
const REMOVED = Buffer.from('stored, then removed');

/** Numbers in [0, 1), the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed * 2654435761;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function survivals(seed: number): Survival[] {
  const random = randomOf(seed);
  return [
    () => 'old',
    () => 'new',
    () => 'part',
    () => (random() < 0.5 ? 'old' : 'new'),
    () => (['old', 'new', 'part'] as const)[Math.floor(random() * 3)] ?? 'old',
  ];
}

/** What was promised when the power went. */
type Promises = { stored: Set<Buffer>; removed: boolean };

/** Pushes side by side, one of them twice, and a removal, until the power is cut. */
async function work(disk: MemoryDisk): Promise<Promises> {
  const promises: Promises = { stored: new Set(), removed: false };
  const store = await FilesystemBlobStore.open({ root: ROOT }, { files: disk }).catch(
    () => undefined,
  );
  if (!store) return promises;
  const keep = async (bytes: Buffer): Promise<void> => {
    await storeBlob(store, bytes, [2, 7]);
    promises.stored.add(bytes);
  };
  const remove = async (): Promise<void> => {
    await storeBlob(store, REMOVED);
    await store.remove(digestOf(REMOVED));
    promises.removed = true;
  };
  await Promise.allSettled([...KEPT.map(keep), keep(TWICE), remove()]);
  return promises;
}

/** Lets operations of calls that run side by side come in an order that the seed decides. */
function shuffled(seed: number, also: (operation: Operation) => void): MemoryDisk['before'] {
  const random = randomOf(seed);
  return async (operation) => {
    for (let ticks = Math.floor(random() * 4); ticks > 0; ticks -= 1) {
      // oxlint-disable-next-line no-await-in-loop -- others take their turn
      await Promise.resolve();
    }
    also(operation);
  };
}

/** Names a broken promise, if the machine finds one after its power was cut. */
async function brokenPromise(disk: MemoryDisk, made: Promises): Promise<string | undefined> {
  const store = await FilesystemBlobStore.open({ root: ROOT }, { files: disk });
  for (const bytes of [...KEPT, REMOVED]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const found = await readBlob(store, digestOf(bytes));
    const text = bytes.toString();
    if (found === undefined && made.stored.has(bytes)) return `lost: ${text}`;
    if (found !== undefined && !found.equals(bytes)) return `a part only: ${text}`;
    if (found !== undefined && bytes === REMOVED && made.removed) return `back again: ${text}`;
  }
  await store.sweep({ beforeMs: Number.POSITIVE_INFINITY, known: async () => new Set() });
  return disk.files(`${ROOT}/uploads`).length > 0 ? 'a leftover of an upload' : undefined;
}

/** Cuts the power at every operation; the first promise that this breaks. */
async function trial(seed: number, forgets: MemoryDisk['forgets']): Promise<string | undefined> {
  for (let at = 0, ended = false; !ended; at += 1) {
    const disk = new MemoryDisk();
    disk.forgets = forgets;
    let count = 0;
    disk.before = shuffled(seed, ({ path }) => {
      count += 1;
      if (count > at) throw new DiskError('EIO', path);
    });
    // oxlint-disable-next-line no-await-in-loop -- one cut after the other
    const promises = await work(disk);
    ended = count <= at;
    for (const survival of survivals(seed)) {
      // oxlint-disable-next-line no-await-in-loop -- one cut after the other
      const broken = await brokenPromise(disk.afterPowerCut(survival), promises);
      if (broken !== undefined) return `cut at operation ${at}: ${broken}`;
    }
  }
  return undefined;
}

for (const seed of SEEDS) {
  test(`a power cut at any operation breaks no promise (order ${seed})`, async () => {
    assert.equal(await trial(seed, () => false), undefined);
  });
}

test('each sync is needed: without any one of them, a power cut breaks a promise', async () => {
  const synced = new Set<string>();
  const disk = new MemoryDisk();
  disk.before = ({ name, path }) => {
    if (name === 'sync') synced.add('the bytes');
    if (name === 'syncFolder') synced.add(path);
  };
  const { stored, removed } = await work(disk);
  assert.ok(stored.size === KEPT.length && removed);
  const shards = new Set(disk.files(`${ROOT}/blobs`).map((file) => dirname(file)));
  const folders = ['/', '/srv', '/srv/hub', ROOT, `${ROOT}/blobs`, `${ROOT}/blobs/sha256`];
  for (const place of ['the bytes', ...folders, ...shards]) {
    assert.ok(synced.has(place), place);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const broken = await trial(1, ({ name, path }) =>
      name === 'sync' ? place === 'the bytes' : path === place,
    );
    assert.notEqual(broken, undefined, `nobody missed the sync of ${place}`);
  }
});
