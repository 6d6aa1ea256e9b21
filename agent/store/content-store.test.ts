import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readSync } from 'node:fs';
import {
  mkdtemp,
  open as openFile,
  readFile,
  readdir,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { decodeBitmap } from './bitmap-file.ts';
import { BlobPaths } from './blob-paths.ts';
import { FsContentStore } from './content-store.ts';
import { createStoreMetrics } from './metrics.ts';
import type { StoredBlob } from './port.ts';
import { LOGGER, sampleOf, writeChunks } from './test-store.ts';

/** Resolves when nothing is pending any more. */
function rechecked(blob: StoredBlob): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      if (blob.pending.count > 0) return;
      listening[Symbol.dispose]();
      resolve();
    };
    const listening = blob.onChange(done);
    done();
  });
}

describe('the content store', () => {
  let dataDir: string;
  const open: FsContentStore[] = [];

  async function start(options: { quotaBytes?: number; bootId?: string } = {}) {
    const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
    const store = await FsContentStore.open(
      { dataDir, quotaBytes: 100 * LEAF_BYTES, bootId: 'boot-1', ...options },
      {
        logger: LOGGER,
        metrics: createStoreMetrics(metrics),
      },
    );
    open.push(store);
    return store;
  }

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'flotilla-store-'));
  });

  afterEach(async () => {
    await Promise.all(open.splice(0).map((store) => store.close()));
    await rm(dataDir, { recursive: true, force: true });
  });

  it('gives back what was written and refuses what was not', async () => {
    const { bytes, input } = sampleOf(6);
    const store = await start();
    const blob = await store.create(input);
    await writeChunks(blob, bytes, [1, 2, 6]);
    const into = Buffer.alloc(LEAF_BYTES + 10);
    await blob.read(into, LEAF_BYTES + 5);
    assert.ok(into.equals(bytes.subarray(LEAF_BYTES + 5, LEAF_BYTES + 5 + into.length)));
    const tail = Buffer.alloc(17);
    await blob.read(tail, 6 * LEAF_BYTES);
    assert.ok(tail.equals(bytes.subarray(6 * LEAF_BYTES)));
    await assert.rejects(blob.read(into, 0), (err) => hasCode(err, 'NOT_VERIFIED'));
    await assert.rejects(blob.read(into, 6 * LEAF_BYTES), (err) => hasCode(err, 'OUT_OF_RANGE'));
    assert.equal(store.stats().bytes, 2 * LEAF_BYTES + 17);
    assert.equal(blob.complete, false);
  });

  it('is sparse: a partial blob takes no room for what is missing', async () => {
    const { bytes, input } = sampleOf(64);
    const blob = await (await start()).create(input);
    await writeChunks(blob, bytes, [40]);
    const path = join(new BlobPaths(dataDir).chunked(input.digest), 'data');
    const { size, blocks } = await stat(path);
    assert.equal(size, bytes.length);
    assert.ok(blocks * 512 < 4 * LEAF_BYTES);
  });

  it('keeps everything over a clean stop, even into another boot', async () => {
    const { bytes, input } = sampleOf(8);
    const first = await start();
    await writeChunks(await first.create(input), bytes, [0, 3, 8]);
    await first.close();
    const blob = (await start({ bootId: 'boot-2' })).find(input.digest);
    assert.deepEqual([...(blob?.have.present() ?? [])], [0, 3, 8]);
    assert.equal(blob?.statement.toString(), 'a signed statement');
    assert.ok(blob.hashes.equals(input.hashes));
  });

  it('checks chunks of an unclean earlier boot again and drops what rotted', async () => {
    const { bytes, input } = sampleOf(70);
    const first = await start();
    const all = [...Array(71).keys()];
    // No close: as after a kill. The bitmap was saved after the first 64 MiB.
    await writeChunks(await first.create(input), bytes, all);
    const folder = new BlobPaths(dataDir).chunked(input.digest);
    await savedBitmap(input.digest, dataDir, 71);
    const second = await start({ bootId: 'boot-2' });
    const data = await openFile(join(folder, 'data'), 'r+');
    await data.write(Buffer.of((bytes[5 * LEAF_BYTES] ?? 0) ^ 1), 0, 1, 5 * LEAF_BYTES);
    await data.close();
    const blob = second.find(input.digest);
    assert.ok(blob !== undefined);
    assert.equal(blob.have.count, 0, 'nothing is trusted before it was checked');
    await rechecked(blob);
    assert.ok(blob.have.count >= 63);
    assert.equal(blob.have.has(5), false);
    await assert.rejects(blob.read(Buffer.alloc(1), 5 * LEAF_BYTES), (err) =>
      hasCode(err, 'NOT_VERIFIED'),
    );
  });

  it('after a kill in the same boot loses at most the last 64 MiB', async () => {
    const { bytes, input } = sampleOf(100);
    const first = await start({ quotaBytes: 200 * LEAF_BYTES });
    await writeChunks(await first.create(input), bytes, [...Array(90).keys()]);
    await savedBitmap(input.digest, dataDir, 101);
    const blob = (await start({ quotaBytes: 200 * LEAF_BYTES })).find(input.digest);
    assert.ok((blob?.have.count ?? 0) >= 90 - 64);
    assert.equal(blob?.pending.count, 0);
  });

  for (const file of ['meta', 'have', 'data']) {
    it(`drops a blob whose ${file} file is damaged`, async () => {
      const { bytes, input } = sampleOf(5);
      const first = await start();
      await writeChunks(await first.create(input), bytes, [0, 1]);
      await first.close();
      const path = join(new BlobPaths(dataDir).chunked(input.digest), file);
      const { size } = await stat(path);
      await truncate(path, size - 1);
      const second = await start();
      assert.equal(second.find(input.digest), undefined);
      const again = await second.create(input);
      assert.equal(again.have.count, 0);
    });
  }

  it('forgets the chunks of a data file that was cut while it runs', async () => {
    const { bytes, input } = sampleOf(5);
    const blob = await (await start()).create(input);
    await writeChunks(blob, bytes, [4]);
    const folder = new BlobPaths(dataDir).chunked(input.digest);
    await truncate(join(folder, 'data'), LEAF_BYTES);
    await assert.rejects(blob.read(Buffer.alloc(9), 4 * LEAF_BYTES), (err) =>
      hasCode(err, 'CORRUPT'),
    );
    assert.equal(blob.have.has(4), false);
  });

  it('lends the file of what was verified, and of nothing else', async () => {
    const { bytes, input } = sampleOf(5);
    const store = await start();
    const blob = await store.create(input);
    await writeChunks(blob, bytes, [1, 2]);
    const length = LEAF_BYTES + 9;
    const into = Buffer.alloc(length);
    const lend = (position: number) =>
      blob.withFile?.(position, length, async (file) => readSync(file, into, 0, length, position));
    assert.equal(await lend(LEAF_BYTES + 5), length);
    assert.ok(into.equals(bytes.subarray(LEAF_BYTES + 5, 2 * LEAF_BYTES + 14)));
    for (const position of [LEAF_BYTES - 1, 2 * LEAF_BYTES]) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await assert.rejects(async () => lend(position), { code: 'NOT_VERIFIED' });
    }
    await store.remove(input.digest);
    await assert.rejects(async () => lend(LEAF_BYTES), { code: 'EVICTED' });
  });

  it('evicts the least recently read blob, never a retained one, then refuses', async () => {
    const store = await start({ quotaBytes: 12 * LEAF_BYTES });
    const [a, b, c, d] = [sampleOf(4), sampleOf(4), sampleOf(4), sampleOf(4)];
    const first = await store.create(a.input);
    await store.create(b.input);
    await turnOfTheLoop();
    store.find(b.input.digest);
    first.retain()[Symbol.dispose]();
    const third = await store.create(c.input);
    assert.equal(store.find(b.input.digest), undefined);
    assert.equal(store.find(a.input.digest), first);
    first.retain();
    third.retain();
    await assert.rejects(store.create(d.input), (err) => hasCode(err, 'STORE_FULL'));
    assert.equal(store.find(a.input.digest), first);
    assert.ok(store.stats().reservedBytes <= 12 * LEAF_BYTES);
  });

  it('makes one blob out of simultaneous requests for it', async () => {
    const { input } = sampleOf(5);
    const store = await start();
    const blobs = await Promise.all([store.create(input), store.create(input)]);
    assert.equal(blobs[0], blobs[1]);
    assert.equal(await store.create(input), blobs[0]);
  });

  it('stores a small blob only under its own digest and notices rot', async () => {
    const store = await start();
    const bytes = randomBytes(5000);
    const digest = digestOf(bytes);
    await assert.rejects(store.putSmall(digest, randomBytes(5000)), (err) =>
      hasCode(err, 'DIGEST_MISMATCH'),
    );
    assert.equal(await store.getSmall(digest), undefined);
    await store.putSmall(digest, bytes);
    assert.ok((await store.getSmall(digest))?.equals(bytes));
    await writeFile(new BlobPaths(dataDir).small(digest), randomBytes(5000));
    assert.equal(await store.getSmall(digest), undefined);
  });

  it('leaves no trace of a spool that was not committed', async () => {
    const { bytes, input } = sampleOf(5);
    const store = await start();
    const spool = await store.spool({ digest: input.digest, size: input.size });
    await spool.append(bytes.subarray(0, 3 * LEAF_BYTES));
    const into = Buffer.alloc(100);
    await spool.read(into, LEAF_BYTES);
    assert.ok(into.equals(bytes.subarray(LEAF_BYTES, LEAF_BYTES + 100)));
    assert.equal(store.find(input.digest), undefined);
    await spool.discard();
    assert.deepEqual(await readdir(new BlobPaths(dataDir).temporaryFolder), []);
    assert.equal(store.stats().reservedBytes, 0);
  });

  it('turns a checked spool into a blob that peers are not told about', async () => {
    const { bytes, input } = sampleOf(5);
    const store = await start();
    const spool = await store.spool({ digest: input.digest, size: input.size });
    await spool.append(bytes);
    const blob = await spool.commit({ hashes: input.hashes });
    assert.equal(blob.complete, true);
    assert.equal(blob.servable, false);
    const into = Buffer.alloc(bytes.length);
    await spool.read(into, 0);
    assert.ok(into.equals(bytes));
    await store.create(input);
    assert.equal(blob.servable, true, 'a statement that comes later makes it servable');
  });
});

/** Waits until the bitmap file says at least this many chunks are there. */
async function savedBitmap(digest: Digest, dataDir: string, total: number): Promise<void> {
  const path = join(new BlobPaths(dataDir).chunked(digest), 'have');
  let saved = 0;
  while (saved < 64) saved = decodeBitmap(await readFile(path), total)?.have.count ?? 0;
}
