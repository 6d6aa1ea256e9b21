import assert from 'node:assert/strict';
import { rm, symlink, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { hasCode } from '../../proto/std/errors.ts';
import { BlobPaths } from './blob-paths.ts';
import { placeOf } from './pins.ts';
import { ORIGIN, StoreFolder, readAll, sampleOf, writeChunks } from './test-store.ts';

describe('an index that cannot be written', () => {
  it('costs neither the process nor what is read', async () => {
    await using folder = await StoreFolder.make();
    const [good, bad] = [sampleOf(4), sampleOf(4)];
    const first = await folder.start();
    const elsewhere = { ...ORIGIN, repository: 'elsewhere' };
    await writeChunks(await first.create({ ...good.input, origin: elsewhere }), good.bytes);
    await first.create({ ...bad.input, statement: Buffer.alloc(0) });
    await first.close();
    const paths = new BlobPaths(folder.dataDir);
    await truncate(join(paths.chunked(bad.input.digest), 'meta'), 10);
    const pins = { digests: new Set<never>(), places: new Set([placeOf(ORIGIN)]) };
    const second = await folder.start({ pins });
    await second.settled();
    using other = new DatabaseSync(paths.index);
    other.exec('BEGIN IMMEDIATE');
    second.claim(good.input.digest, ORIGIN);
    assert.equal(second.find(bad.input.digest), undefined);
    const blob = second.find(good.input.digest);
    assert.ok(blob !== undefined && (await readAll(blob)).equals(good.bytes));
    await assert.rejects(second.create(sampleOf(4).input), (err) => hasCode(err, 'IO'));
    other.exec('ROLLBACK');
    await second.create(sampleOf(4).input);
    assert.equal(second.find(bad.input.digest), undefined);
  });
});

describe('an index that is made anew', () => {
  it('has what is readable, and takes what is new, where one folder cannot be read', async () => {
    await using folder = await StoreFolder.make();
    const { bytes, input } = sampleOf(4);
    const first = await folder.start();
    await writeChunks(await first.create(input), bytes);
    await first.close();
    const paths = new BlobPaths(folder.dataDir);
    await rm(paths.index);
    // A link to itself, which every reading of the folder ends at.
    const algorithm = dirname(dirname(paths.chunked(input.digest)));
    await symlink('zz', join(algorithm, 'zz'));
    const second = await folder.start();
    const fresh = sampleOf(4);
    await writeChunks(await second.create(fresh.input), fresh.bytes);
    const blob = second.find(input.digest);
    assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
  });
});
