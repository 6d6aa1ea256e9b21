import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { KyselyFleetStore, type FleetTables } from './fleet-store.ts';
import { REACH_MAX } from './constants.ts';
import type { Catalog, NewManifest } from './port.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';

const REPOSITORY = 'team/app';

async function filePath(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-catalog-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'catalog.sqlite');
}

async function open(t: TestContext) {
  const path = await filePath(t);
  const catalog = await openSqliteCatalog({ path });
  t.after(() => catalog.close());
  return catalog;
}

function digest(text: string): Digest {
  return digestOf(Buffer.from(text));
}

function manifest(text: string, fields: Partial<NewManifest> = {}): NewManifest {
  return {
    repository: REPOSITORY,
    digest: digest(text),
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    bytes: Buffer.from(text),
    references: [],
    tags: [],
    ...fields,
  };
}

function blobs(...names: string[]): NewManifest['references'] {
  return names.map((name) => ({ digest: digest(name), kind: 'blob' }));
}

function children(...names: string[]): NewManifest['references'] {
  return names.map((name) => ({ digest: digest(name), kind: 'manifest' }));
}

async function push(catalog: Catalog, repository: string, ...names: string[]): Promise<void> {
  for (const name of names) {
    // oxlint-disable-next-line no-await-in-loop -- in this order
    await catalog.addBlob({ digest: digest(name), size: name.length }, repository);
  }
}

test('a blob is in the repositories it was pushed or mounted to, and in no other', async (t) => {
  const catalog = await open(t);
  await push(catalog, 'a', 'layer');
  await push(catalog, 'a', 'layer');
  assert.deepEqual(await catalog.blobIn('a', digest('layer')), { size: 5 });
  assert.equal(await catalog.blobIn('b', digest('layer')), undefined);
  assert.equal(await catalog.linkBlob('b', digest('layer')), true);
  assert.equal(await catalog.linkBlob('b', digest('unknown')), false);
  assert.equal(await catalog.removeBlobFrom('a', digest('layer')), true);
  assert.equal(await catalog.removeBlobFrom('a', digest('layer')), false);
  assert.equal(await catalog.blobIn('a', digest('layer')), undefined);
  assert.deepEqual(await catalog.blobIn('b', digest('layer')), { size: 5 });
  assert.deepEqual(await catalog.repositories({ n: 9 }), ['a', 'b']);
});

test('chunk hashes stay when the blob comes again without them', async (t) => {
  const catalog = await open(t);
  const chunks = { root: Buffer.alloc(32, 1), hashes: Buffer.alloc(96, 2) };
  const size = 2 ** 44;
  await push(catalog, 'a', 'big', 'small');
  assert.equal(await catalog.blobChunks(digest('big')), undefined);
  await catalog.addBlob({ digest: digest('big'), size, ...chunks }, 'a');
  await push(catalog, 'b', 'big');
  assert.deepEqual((await catalog.blobChunks(digest('big')))?.root, chunks.root);
  assert.deepEqual((await catalog.blob(digest('big')))?.hashes, chunks.hashes);
  await catalog.addBlob({ digest: digest('huge'), size, ...chunks }, 'a');
  assert.deepEqual(await catalog.blobChunks(digest('huge')), { size, ...chunks });
  assert.deepEqual(await catalog.blob(digest('small')), { size: 5 });
  assert.equal(await catalog.blob(digest('unknown')), undefined);
});

test('a manifest comes back byte for byte, by digest and by a tag that may move', async (t) => {
  const catalog = await open(t);
  await catalog.putManifest(manifest('one', { tags: ['latest', 'v1'] }));
  await catalog.putManifest(manifest('two', { tags: ['latest'] }));
  await catalog.putManifest(manifest('two', { tags: [] }));
  const found = await catalog.manifest(REPOSITORY, { tag: 'latest' });
  assert.deepEqual(found?.bytes, Buffer.from('two'));
  assert.equal(found.digest, digest('two'));
  assert.deepEqual(await catalog.manifest(REPOSITORY, { tag: 'v1' }), {
    digest: digest('one'),
    mediaType: manifest('one').mediaType,
    bytes: Buffer.from('one'),
  });
  assert.equal(await catalog.manifest('other', { digest: digest('one') }), undefined);
  assert.equal(await catalog.tagged(REPOSITORY, 'latest'), digest('two'));
  assert.equal(await catalog.tagged(REPOSITORY, 'v1'), digest('one'));
  assert.equal(await catalog.tagged('other', 'v1'), undefined);
  assert.equal(await catalog.manifest(REPOSITORY, { tag: 'v2' }), undefined);
});

test('a deleted manifest takes its tags along, a deleted tag nothing', async (t) => {
  const catalog = await open(t);
  await catalog.putManifest(manifest('one', { tags: ['a', 'b'], references: blobs('x') }));
  assert.equal(await catalog.deleteTag(REPOSITORY, 'a'), true);
  assert.equal(await catalog.deleteTag(REPOSITORY, 'a'), false);
  assert.ok(await catalog.manifest(REPOSITORY, { digest: digest('one') }));
  assert.equal(await catalog.deleteManifest(REPOSITORY, digest('one')), true);
  assert.equal(await catalog.deleteManifest(REPOSITORY, digest('one')), false);
  assert.deepEqual(await catalog.tags(REPOSITORY, { n: 9 }), []);
  assert.equal(await catalog.manifest(REPOSITORY, { tag: 'b' }), undefined);
});

test('a manifest that cannot be stored whole leaves nothing', async (t) => {
  const catalog = await open(t);
  await catalog.db.schema.dropTable('tag').execute();
  await assert.rejects(catalog.putManifest(manifest('one', { tags: ['a'] })));
  assert.equal(await catalog.manifest(REPOSITORY, { digest: digest('one') }), undefined);
  assert.deepEqual(await catalog.repositories({ n: 9 }), []);
});

test('tags and repositories are paged in the order of their bytes', async (t) => {
  const catalog = await open(t);
  assert.equal(await catalog.tags(REPOSITORY, { n: 9 }), undefined);
  await catalog.putManifest(manifest('one', { tags: ['b', 'a', 'B', '_', 'c'] }));
  await push(catalog, 'alpha', 'layer');
  assert.deepEqual(await catalog.tags(REPOSITORY, { n: 2 }), ['B', '_']);
  assert.deepEqual(await catalog.tags(REPOSITORY, { n: 2, last: '_' }), ['a', 'b']);
  assert.deepEqual(await catalog.tags(REPOSITORY, { n: 0 }), []);
  assert.deepEqual(await catalog.repositories({ n: 1 }), ['alpha']);
  assert.deepEqual(await catalog.repositories({ n: 9, last: 'alpha' }), [REPOSITORY]);
});

test('an index reaches every level, a layer the manifest that names it', async (t) => {
  const catalog = await open(t);
  await push(catalog, REPOSITORY, 'x', 'y', 'z', 'alone');
  await catalog.putManifest(manifest('amd', { references: blobs('x', 'y') }));
  await catalog.putManifest(manifest('arm', { references: blobs('x', 'z') }));
  await catalog.putManifest(manifest('inner', { references: children('arm') }));
  await catalog.putManifest(manifest('index', { references: children('amd', 'inner') }));
  const reach = await catalog.reachable(REPOSITORY, digest('index'));
  assert.equal(reach?.manifestDigest, digest('index'));
  assert.deepEqual(
    reach.digests.toSorted(),
    ['amd', 'arm', 'inner', 'x', 'y', 'z'].map(digest).toSorted(),
  );
  assert.deepEqual(await catalog.reachable(REPOSITORY, digest('z')), {
    manifestDigest: digest('arm'),
    digests: [digest('x'), digest('z')].toSorted(),
  });
  assert.equal(await catalog.reachable(REPOSITORY, digest('alone')), undefined);
  assert.equal(await catalog.reachable('other', digest('index')), undefined);
});

test('naming a blob of another repository gives no right to it', async (t) => {
  const catalog = await open(t);
  await push(catalog, 'secret', 'theirs');
  await push(catalog, REPOSITORY, 'mine');
  await catalog.putManifest(manifest('theirs-too', { repository: 'secret' }));
  const references = [...blobs('mine', 'theirs'), ...children('theirs-too')];
  await catalog.putManifest(manifest('greedy', { references }));
  const reach = await catalog.reachable(REPOSITORY, digest('greedy'));
  assert.deepEqual(reach?.digests, [digest('mine')]);
  assert.equal(await catalog.reachable(REPOSITORY, digest('theirs')), undefined);
});

test('a circle of manifests ends, and too much is nothing', async (t) => {
  const catalog = await open(t);
  await catalog.putManifest(manifest('a', { references: children('b') }));
  await catalog.putManifest(manifest('b', { references: children('a') }));
  assert.deepEqual((await catalog.reachable(REPOSITORY, digest('a')))?.digests, [digest('b')]);
  const names = Array.from({ length: REACH_MAX + 1 }, (_, index) => `layer-${index}`);
  await catalog.db.transaction().execute(async (db) => {
    for (const name of names) {
      const row = { digest: digest(name) };
      // oxlint-disable-next-line no-await-in-loop -- one statement after the other
      await db
        .insertInto('blob')
        .values({ ...row, size: 1, root: null, hashes: null })
        .execute();
      const own = { repository: REPOSITORY, ...row };
      // oxlint-disable-next-line no-await-in-loop -- one statement after the other
      await db.insertInto('repository_blob').values(own).execute();
    }
  });
  await catalog.putManifest(manifest('full', { references: blobs(...names.slice(1)) }));
  await catalog.putManifest(manifest('over', { references: blobs(...names) }));
  const full = await catalog.reachable(REPOSITORY, digest('full'));
  assert.equal(full?.digests.length, REACH_MAX);
  assert.equal(await catalog.reachable(REPOSITORY, digest('over')), undefined);
});

test('two programs on one file see each other, and what was stored stays', async (t) => {
  const path = await filePath(t);
  const first = await openSqliteCatalog({ path });
  const second = await openSqliteCatalog({ path });
  t.after(() => second.close());
  await first.putManifest(manifest('one', { tags: ['a'] }));
  assert.deepEqual(await second.tags(REPOSITORY, { n: 9 }), ['a']);
  await first.close();
  const fleet = new KyselyFleetStore({ db: second.db.withTables<FleetTables>() });
  assert.equal(await fleet.nextSerial(), 1);
  const later = await openSqliteCatalog({ path });
  t.after(() => later.close());
  assert.ok(await later.manifest(REPOSITORY, { tag: 'a' }));
});

test('a database of a newer program is left alone', async (t) => {
  const path = await filePath(t);
  await (await openSqliteCatalog({ path })).close();
  const database = new DatabaseSync(path);
  database.exec('INSERT INTO schema_version VALUES (999)');
  database.close();
  await assert.rejects(openSqliteCatalog({ path }), { code: 'SCHEMA_TOO_NEW' });
});
