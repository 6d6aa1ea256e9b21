import assert from 'node:assert/strict';
import { createHook } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { BlobPaths } from './blob-paths.ts';
import { StoreFolder, readAll, sampleOf, writeChunks } from './test-store.ts';

/** Reads the process made by any means, SQLite's included. */
async function reads(): Promise<number> {
  return Number(/^syscr: (\d+)/m.exec(await readFile('/proc/self/io', 'latin1'))?.[1]);
}

/** Operations on files that `task` begins, and reads it makes. */
async function workOf<T>(task: () => Promise<T>): Promise<{ result: T; work: number }> {
  let work = 0;
  const hook = createHook({
    init: (_id, type) => {
      if (type === 'FSREQPROMISE' || type === 'FSREQCALLBACK') work += 1;
    },
  });
  const before = await reads();
  hook.enable();
  const result = await task();
  hook.disable();
  return { result, work: work + (await reads()) - before };
}

/** Rows of blobs that nobody asks for, as if there were so many more folders. */
function addRows(index: string, count: number): void {
  const database = new DatabaseSync(index);
  database
    .prepare(
      `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
      INSERT INTO entry (digest, kind, bytes, held, used, checked, place, servable, pinned, known)
      SELECT printf('sha256:%064x', n), 'chunked', 5242880, 5242880, n, n, '', 0, 0, 1
      FROM numbers`,
    )
    .run(count);
  database.close();
}

/** The work of an open of a store of one blob and so many others. */
async function openWork(others: number): Promise<number> {
  await using folder = await StoreFolder.make();
  const { bytes, input } = sampleOf(4);
  const first = await folder.start({ quotaBytes: 2 ** 50 });
  await writeChunks(await first.create(input), bytes);
  await first.close();
  addRows(new BlobPaths(folder.dataDir).index, others);
  const opening = () => folder.start({ quotaBytes: 2 ** 50, bootId: 'boot-2' });
  const { result: store, work } = await workOf(opening);
  assert.equal(store.stats().blobs, others + 1);
  const blob = store.find(input.digest);
  assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
  return work;
}

describe('the index of the store', () => {
  it('opens with the same work for 100,000 blobs as for 100', async () => {
    await openWork(1);
    const few = await openWork(100);
    const many = await openWork(100_000);
    // A tree of rows that is a thousand times as large is a few pages deeper.
    assert.ok(many <= few + 32, `${many} operations for 100,000 blobs, ${few} for 100`);
  });

  const damages: Record<string, (path: string) => Promise<unknown>> = {
    'is missing': (path) => rm(path),
    'was cut': (path) => truncate(path, 5000),
    'is something else': (path) => writeFile(path, randomBytes(20_000)),
    'is of another version': async (path) => {
      const database = new DatabaseSync(path);
      database.exec('PRAGMA user_version = 77; DROP TABLE entry');
      database.close();
    },
    'lacks what its rows are in': async (path) => {
      const database = new DatabaseSync(path);
      database.exec('DROP TABLE entry');
      database.close();
    },
    'is a folder': async (path) => {
      await rm(path);
      await mkdir(path);
    },
  };
  for (const [what, damage] of Object.entries(damages)) {
    it(`that ${what} is made anew from the folders`, async () => {
      await using folder = await StoreFolder.make();
      const [a, b] = [sampleOf(4), sampleOf(5)];
      const small = randomBytes(3000);
      const first = await folder.start();
      await writeChunks(await first.create(a.input), a.bytes);
      await writeChunks(await first.create(b.input), b.bytes, [1, 2]);
      await first.putSmall(digestOf(small), small);
      const before = first.stats();
      await first.close();
      await damage(new BlobPaths(folder.dataDir).index);
      const second = await folder.start();
      // What is held is found before the folders were looked through.
      const blob = second.find(a.input.digest);
      assert.ok(blob !== undefined && (await readAll(blob)).equals(a.bytes));
      assert.ok((await second.getSmall(digestOf(small)))?.equals(small));
      await second.settled();
      assert.deepEqual({ ...second.stats(), oldestCheckMs: 0 }, { ...before, oldestCheckMs: 0 });
      const listed = [...second.list()].map(({ digest }) => digest).sort();
      assert.deepEqual(listed, [a.input.digest, b.input.digest].sort());
    });
  }

  it('that is lost while it runs is made anew, and nothing is forgotten', async () => {
    await using folder = await StoreFolder.make();
    const { bytes, input } = sampleOf(4);
    const store = await folder.start();
    await writeChunks(await store.create(input), bytes);
    const database = new DatabaseSync(new BlobPaths(folder.dataDir).index);
    database.exec('DROP TABLE totals');
    database.close();
    assert.equal(store.stats().blobs, 0);
    await store.settled();
    assert.equal(store.stats().bytes, bytes.length);
    assert.equal(await folder.metric('store_index_rebuilds_total'), 2);
    const more = sampleOf(4);
    await store.create(more.input);
    assert.equal(store.stats().blobs, 2);
  });

  it('that is lost while it is made anew hides nothing', async () => {
    await using folder = await StoreFolder.make();
    const smalls = Array.from({ length: 60 }, () => randomBytes(100));
    const first = await folder.start();
    for (const bytes of smalls) await first.putSmall(digestOf(bytes), bytes);
    await first.close();
    const { index } = new BlobPaths(folder.dataDir);
    await rm(index);
    const store = await folder.start();
    while (store.stats().blobs < smalls.length / 2) await turnOfTheLoop();
    const database = new DatabaseSync(index);
    database.exec('DROP TABLE totals');
    database.close();
    assert.equal(store.stats().blobs, 0);
    const settled = new AbortController();
    const settling = store.settled().then(() => settled.abort());
    while (!settled.signal.aborted) {
      const found = await Promise.all(smalls.map((bytes) => store.getSmall(digestOf(bytes))));
      assert.ok(found.every((bytes) => bytes !== undefined));
    }
    await settling;
    assert.equal(store.stats().blobs, smalls.length);
  });

  it('is believed after a kill, but not after a crash of the machine', async () => {
    await using folder = await StoreFolder.make();
    const { bytes, input } = sampleOf(4);
    const first = await folder.start();
    await writeChunks(await first.create(input), bytes);
    await first.settled();
    const again = await folder.start();
    await again.settled();
    assert.equal(await folder.metric('store_index_rebuilds_total'), 1);
    const rebooted = await folder.start({ bootId: 'boot-2' });
    await rebooted.settled();
    assert.equal(await folder.metric('store_index_rebuilds_total'), 2);
    assert.equal(rebooted.stats().reservedBytes, bytes.length);
  });

  it('keeps what was read last over a restart', async () => {
    await using folder = await StoreFolder.make();
    const samples = [sampleOf(4), sampleOf(4), sampleOf(4)];
    const quotaBytes = 14 * LEAF_BYTES;
    const first = await folder.start({ quotaBytes, highWater: 1 });
    for (const { input } of samples) await first.create(input);
    const [a, b] = samples;
    assert.ok(a !== undefined && b !== undefined);
    first.find(a.input.digest)?.retain()[Symbol.dispose]();
    await first.close();
    const second = await folder.start({ quotaBytes, highWater: 1 });
    await second.create(sampleOf(4).input);
    assert.ok(second.find(a.input.digest));
    assert.equal(second.find(b.input.digest), undefined);
  });

  it('removes files that hold nothing, and entries whose files are gone', async () => {
    await using folder = await StoreFolder.make();
    const sample = sampleOf(4);
    await folder.fill(sample);
    const { input } = sample;
    const paths = new BlobPaths(folder.dataDir);
    await rm(paths.chunked(input.digest), { recursive: true });
    const second = await folder.start();
    assert.equal(second.find(input.digest), undefined);
    assert.equal((await second.create(input)).have.count, 0);
    await second.close();
    await rm(paths.index);
    const half = paths.chunked(digestOf(Buffer.from('half')));
    await mkdir(half, { recursive: true });
    await (await open(join(half, 'data'), 'w')).close();
    await (await folder.start()).settled();
    assert.deepEqual(await readdir(join(half, '..')), []);
  });
});
