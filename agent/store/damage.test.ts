import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { LEAF_BYTES, layoutOf } from '../../proto/chunks/layout.ts';
import { chunkHashesFromLeaves } from '../../proto/chunks/merkle.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { BitmapSaver } from './bitmap-saver.ts';
import { BITMAP_PERSIST_BYTES, BITMAP_PERSIST_MS } from './constants.ts';
import { BlobPaths } from './blob-paths.ts';
import { FsContentStore } from './content-store.ts';
import { createStoreMetrics } from './metrics.ts';
import type { StoredBlob } from './port.ts';

const LOGGER = createLogger({ level: 'silent', name: 'test' });
const CHUNKS = 5;

describe('a store whose files are damaged', () => {
  const bytes = randomBytes(CHUNKS * LEAF_BYTES);
  const hasher = new ContentHasher();
  hasher.update(bytes);
  const { digests, leaves } = hasher.finish();
  const digest = digests.sha256;
  const hashes = chunkHashesFromLeaves(leaves, layoutOf(bytes.length));
  const input = { digest, size: bytes.length, statement: Buffer.from('signed'), hashes };
  let dataDir = '';
  let dataPath = '';
  let stores: FsContentStore[] = [];

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'flotilla-damage-'));
    dataPath = join(new BlobPaths(dataDir).chunked(digest), 'data');
  });
  afterEach(async () => {
    await Promise.all(stores.map((store) => store.close()));
    stores = [];
    await rm(dataDir, { recursive: true, force: true });
  });

  async function start(bootId = 'boot-1'): Promise<FsContentStore> {
    const metrics = createStoreMetrics(new MetricsRegistry({ prefix: 'flotilla_agent_' }));
    const options = { dataDir, quotaBytes: 100 * LEAF_BYTES, bootId };
    const store = await FsContentStore.open(options, { logger: LOGGER, metrics });
    stores.push(store);
    return store;
  }

  async function put(blob: StoredBlob, index: number): Promise<void> {
    await blob.write(index, bytes.subarray(index * LEAF_BYTES, (index + 1) * LEAF_BYTES));
  }

  async function filled(): Promise<FsContentStore> {
    const store = await start();
    const blob = await store.create(input);
    for (let index = 0; index < CHUNKS; index += 1) await put(blob, index);
    return store;
  }

  it('gives no byte that rotted while the agent was stopped, even cleanly', async () => {
    await (await filled()).close();
    const file = await open(dataPath, 'r+');
    await file.write(Buffer.from('rot'), 0, 3, 2 * LEAF_BYTES + 77);
    await file.close();
    const blob = (await start()).find(digest);
    assert.ok(blob?.complete);
    const into = Buffer.alloc(10);
    const reads = [1, 2].map(() => blob.read(into, 2 * LEAF_BYTES));
    for (const read of await Promise.allSettled(reads)) assert.equal(read.status, 'rejected');
    assert.equal(blob.have.has(2), false);
    await blob.read(into, 3 * LEAF_BYTES);
    assert.ok(into.equals(bytes.subarray(3 * LEAF_BYTES, 3 * LEAF_BYTES + 10)));
    await put(blob, 2);
    await blob.read(into, 2 * LEAF_BYTES);
    assert.ok(into.equals(bytes.subarray(2 * LEAF_BYTES, 2 * LEAF_BYTES + 10)));
  });

  it('makes no zeros of a file that was cut and then written to again', async () => {
    const blob = await (await start()).create(input);
    await put(blob, 1);
    await truncate(dataPath, 0);
    await put(blob, 4);
    assert.equal(blob.have.has(1), false);
    await assert.rejects(blob.read(Buffer.alloc(9), LEAF_BYTES), (err) =>
      hasCode(err, 'NOT_VERIFIED'),
    );
  });

  it('takes chunks again after its file was deleted', async () => {
    await (await filled()).close();
    const blob = (await start()).find(digest);
    await rm(dataPath);
    await assert.rejects(blob?.read(Buffer.alloc(9), 0) ?? Promise.resolve(), (err) =>
      hasCode(err, 'CORRUPT'),
    );
    assert.ok(blob);
    for (let index = 0; index < CHUNKS; index += 1) await put(blob, index);
    const into = Buffer.alloc(bytes.length);
    await blob.read(into, 0);
    assert.ok(into.equals(bytes));
  });

  it('gives no byte of a spool whose file was cut', async () => {
    const store = await start();
    const spool = await store.spool(input);
    await spool.append(bytes.subarray(0, LEAF_BYTES));
    const folder = new BlobPaths(dataDir).temporaryFolder;
    const [name = ''] = await readdir(folder);
    await truncate(join(folder, name), 10);
    await assert.rejects(spool.read(Buffer.alloc(9), 5), (err) => hasCode(err, 'CORRUPT'));
    await spool.discard();
  });

  it('lets go of chunks that cannot be read', async () => {
    await (await filled()).close();
    const blob = (await start('boot-2')).find(digest);
    assert.ok(blob?.complete);
    await rm(dataPath);
    await mkdir(dataPath);
    await assert.rejects(blob.read(Buffer.alloc(9), 0));
    assert.equal(blob.have.has(0), false);
    await rm(dataPath, { recursive: true });
  });

  it('has no small blob whose file cannot be read', async () => {
    const store = await start();
    const small = randomBytes(100);
    await store.putSmall(digestOf(small), small);
    const path = new BlobPaths(dataDir).small(digestOf(small));
    await rm(path);
    await mkdir(path);
    assert.equal(await store.getSmall(digestOf(small)), undefined);
    await rm(path, { recursive: true });
  });
});

it('the last bits are saved although no chunk follows', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const first = Promise.withResolvers<void>();
  let saves = 0;
  const saver = new BitmapSaver(() => {
    saves += 1;
    return saves === 1 ? first.promise : Promise.resolve();
  }, LOGGER);
  saver.changed(BITMAP_PERSIST_BYTES);
  saver.changed(BITMAP_PERSIST_BYTES);
  first.reject(new Error('no space'));
  await new Promise(setImmediate);
  t.mock.timers.tick(BITMAP_PERSIST_MS);
  assert.equal(saves, 2);
  await saver.abandon();
});
