import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { BlobPaths } from './blob-paths.ts';
import { placeOf } from './pins.ts';
import { ORIGIN, StoreFolder, readAll, sampleOf, writeChunks } from './test-store.ts';

/** Puts a link to itself there, which nobody can read. */
async function unreadable(path: string): Promise<void> {
  await rm(path, { force: true });
  await symlink(path, path);
}

describe('an index that cannot be written', () => {
  it('costs neither the process nor what is read', async () => {
    await using folder = await StoreFolder.make();
    const [good, bad] = [sampleOf(4), sampleOf(4)];
    const first = await folder.start();
    const elsewhere = { ...ORIGIN, repository: 'elsewhere' };
    await writeChunks(await first.create({ ...good.input, origin: elsewhere }), good.bytes);
    await first.create({ ...bad.input, statement: Buffer.alloc(0) });
    const small = randomBytes(100);
    await first.putSmall(digestOf(small), small);
    await first.close();
    const paths = new BlobPaths(folder.dataDir);
    await writeFile(paths.small(digestOf(small)), 'rotten');
    await truncate(join(paths.chunked(bad.input.digest), 'meta'), 10);
    const pins = { digests: new Set<never>(), places: new Set([placeOf(ORIGIN)]) };
    const second = await folder.start({ pins });
    await second.settled();
    using other = new DatabaseSync(paths.index);
    other.exec('BEGIN IMMEDIATE');
    second.claim(good.input.digest, ORIGIN);
    assert.equal(second.find(bad.input.digest), undefined);
    assert.equal(await second.getSmall(digestOf(small)), undefined);
    const blob = second.find(good.input.digest);
    assert.ok(blob !== undefined && (await readAll(blob)).equals(good.bytes));
    await assert.rejects(second.create(sampleOf(4).input), (err) => hasCode(err, 'IO'));
    other.exec('ROLLBACK');
    await second.create(sampleOf(4).input);
    assert.equal(second.find(bad.input.digest), undefined);
  });
});

describe('an index that is made anew', () => {
  it('tells peers of what is readable, where the facts of one blob are not', async () => {
    await using folder = await StoreFolder.make();
    const [good, bad] = [sampleOf(4), sampleOf(4)];
    await folder.fill(good, bad);
    const paths = new BlobPaths(folder.dataDir);
    await rm(paths.index);
    await unreadable(join(paths.chunked(bad.input.digest), 'have'));
    const later = new Date(Date.now() + 1_000_000);
    await utimes(join(paths.chunked(bad.input.digest), 'meta'), later, later);
    const second = await folder.start();
    await second.settled();
    const told = [...second.list()].map(({ digest }) => digest);
    assert.deepEqual(told, [good.input.digest]);
  });

  it('has what is readable, and takes what is new, where one folder cannot be read', async () => {
    await using folder = await StoreFolder.make();
    const old = sampleOf(4);
    await folder.fill(old);
    const paths = new BlobPaths(folder.dataDir);
    await rm(paths.index);
    const algorithm = dirname(dirname(paths.chunked(old.input.digest)));
    await unreadable(join(algorithm, 'zz'));
    const second = await folder.start();
    const fresh = sampleOf(4);
    await writeChunks(await second.create(fresh.input), fresh.bytes);
    const blob = second.find(old.input.digest);
    assert.ok(blob !== undefined && (await readAll(blob)).equals(old.bytes));
  });
});

describe('what an earlier run had begun to delete', () => {
  it('is deleted, but not what came anew meanwhile', async () => {
    await using folder = await StoreFolder.make();
    const samples = Array.from({ length: 6 }, () => sampleOf(4));
    const first = await folder.start();
    for (const { input } of samples) await first.create(input);
    await first.close();
    using index = new DatabaseSync(new BlobPaths(folder.dataDir).index);
    index.exec('UPDATE entry SET leaving = 1');
    const second = await folder.start();
    const newcomers = await Promise.all(samples.slice(1).map(({ input }) => second.create(input)));
    await second.settled();
    for (const [n, blob] of newcomers.entries()) {
      const bytes = samples[n + 1]?.bytes ?? Buffer.of();
      await writeChunks(blob, bytes);
      assert.equal(second.find(blob.digest), blob);
      assert.ok((await readAll(blob)).equals(bytes));
    }
    assert.equal(second.stats().blobs, samples.length - 1);
  });
});
