// What every catalog must do, whatever database it is in.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digest, manifest, REPOSITORY, type CatalogRig } from './catalog-fixture.ts';
import { REACH_MAX, STATEMENT_ROWS_MAX } from './constants.ts';
import { KyselyFleetStore, type FleetTables } from './fleet-store.ts';
import type { OpenCatalog } from './open-catalog.ts';
import type { Catalog, NewManifest } from './port.ts';

type Work = (rig: CatalogRig & { catalog: OpenCatalog }) => Promise<void>;
type Check = (promise: string, work: Work) => void;

/** Tests of the catalog in one kind of database. */
export function catalogConformance(
  where: string,
  rig: (t: TestContext) => Promise<CatalogRig>,
  options: { skip?: string | false } = {},
): void {
  const check: Check = (promise, work) => {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      const own = await rig(t);
      await work({ ...own, catalog: await own.open() });
    });
  };
  blobChecks(check);
  manifestChecks(check);
  reachChecks(check);
  sharingChecks(check);
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

function blobChecks(check: Check): void {
  check(
    'a blob is in the repositories it was pushed or mounted to, and in no other',
    async ({ catalog }) => {
      await push(catalog, 'a', 'layer');
      await push(catalog, 'a', 'layer');
      assert.equal((await catalog.blobIn('a', digest('layer')))?.size, 5);
      assert.equal(await catalog.blobIn('b', digest('layer')), undefined);
      assert.equal(await catalog.linkBlob('b', digest('layer')), true);
      assert.equal(await catalog.linkBlob('b', digest('unknown')), false);
      assert.equal(await catalog.removeBlobFrom('a', digest('layer')), true);
      assert.equal(await catalog.removeBlobFrom('a', digest('layer')), false);
      assert.equal(await catalog.blobIn('a', digest('layer')), undefined);
      assert.equal((await catalog.blobIn('b', digest('layer')))?.size, 5);
      assert.deepEqual(await catalog.repositories({ n: 9 }), ['a', 'b']);
    },
  );

  check('chunk hashes stay when the blob comes again without them', async ({ catalog }) => {
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
}

function manifestChecks(check: Check): void {
  check(
    'a manifest comes back byte for byte, by digest and by a tag that may move',
    async ({ catalog }) => {
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
    },
  );

  check('a deleted manifest takes its tags along, a deleted tag nothing', async ({ catalog }) => {
    await catalog.putManifest(manifest('one', { tags: ['a', 'b'], references: blobs('x') }));
    assert.equal(await catalog.deleteTag(REPOSITORY, 'a'), true);
    assert.equal(await catalog.deleteTag(REPOSITORY, 'a'), false);
    assert.ok(await catalog.manifest(REPOSITORY, { digest: digest('one') }));
    assert.equal(await catalog.deleteManifest(REPOSITORY, digest('one')), true);
    assert.equal(await catalog.deleteManifest(REPOSITORY, digest('one')), false);
    assert.deepEqual(await catalog.tags(REPOSITORY, { n: 9 }), []);
    assert.equal(await catalog.manifest(REPOSITORY, { tag: 'b' }), undefined);
  });

  check('a manifest that cannot be stored whole leaves nothing', async ({ catalog }) => {
    await catalog.db.schema.alterTable('tag').renameTo('gone').execute();
    await assert.rejects(catalog.putManifest(manifest('one', { tags: ['a'] })));
    assert.equal(await catalog.manifest(REPOSITORY, { digest: digest('one') }), undefined);
    assert.deepEqual(await catalog.repositories({ n: 9 }), []);
  });

  check('tags and repositories are paged in the order of their bytes', async ({ catalog }) => {
    assert.equal(await catalog.tags(REPOSITORY, { n: 9 }), undefined);
    await catalog.putManifest(manifest('one', { tags: ['b', 'a', 'B', '_', 'c'] }));
    await push(catalog, 'alpha', 'layer');
    assert.deepEqual(await catalog.tags(REPOSITORY, { n: 2 }), ['B', '_']);
    assert.deepEqual(await catalog.tags(REPOSITORY, { n: 2, last: '_' }), ['a', 'b']);
    assert.deepEqual(await catalog.tags(REPOSITORY, { n: 0 }), []);
    assert.deepEqual(await catalog.tags(REPOSITORY, { n: 2, last: 'a\0z' }), ['b', 'c']);
    assert.deepEqual(await catalog.repositories({ n: 1 }), ['alpha']);
    assert.deepEqual(await catalog.repositories({ n: 9, last: 'alpha' }), [REPOSITORY]);
  });
}

function reachChecks(check: Check): void {
  check('an index reaches every level, a layer the manifest that names it', async ({ catalog }) => {
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

  check('naming a blob of another repository gives no right to it', async ({ catalog }) => {
    await push(catalog, 'secret', 'theirs');
    await push(catalog, REPOSITORY, 'mine');
    await catalog.putManifest(manifest('theirs-too', { repository: 'secret' }));
    const references = [...blobs('mine', 'theirs'), ...children('theirs-too')];
    await catalog.putManifest(manifest('greedy', { references }));
    const reach = await catalog.reachable(REPOSITORY, digest('greedy'));
    assert.deepEqual(reach?.digests, [digest('mine')]);
    assert.equal(await catalog.reachable(REPOSITORY, digest('theirs')), undefined);
  });

  check('a circle of manifests ends, and too much is nothing', async ({ catalog }) => {
    await catalog.putManifest(manifest('a', { references: children('b') }));
    await catalog.putManifest(manifest('b', { references: children('a') }));
    assert.deepEqual((await catalog.reachable(REPOSITORY, digest('a')))?.digests, [digest('b')]);
    const names = Array.from({ length: REACH_MAX + 1 }, (_, index) => `layer-${index}`);
    const rows = names.map((name) => ({ digest: digest(name), size: 1, root: null, hashes: null }));
    for (let at = 0; at < rows.length; at += STATEMENT_ROWS_MAX) {
      const batch = rows.slice(at, at + STATEMENT_ROWS_MAX);
      // oxlint-disable-next-line no-await-in-loop -- one statement after the other
      await catalog.db.insertInto('blob').values(batch).execute();
      const own = batch.map((row) => ({ repository: REPOSITORY, digest: row.digest }));
      // oxlint-disable-next-line no-await-in-loop -- one statement after the other
      await catalog.db.insertInto('repository_blob').values(own).execute();
    }
    await catalog.putManifest(manifest('full', { references: blobs(...names.slice(1)) }));
    await catalog.putManifest(manifest('over', { references: blobs(...names) }));
    const full = await catalog.reachable(REPOSITORY, digest('full'));
    assert.equal(full?.digests.length, REACH_MAX);
    assert.equal(await catalog.reachable(REPOSITORY, digest('over')), undefined);
  });
}

function sharingChecks(check: Check): void {
  check('two programs on one database see each other', async ({ catalog, open }) => {
    const other = await open();
    await catalog.putManifest(manifest('one', { tags: ['a'] }));
    assert.deepEqual(await other.tags(REPOSITORY, { n: 9 }), ['a']);
  });

  check('what was stored is there when the catalog is opened again', async ({ catalog, open }) => {
    await catalog.putManifest(manifest('one', { tags: ['a'] }));
    const fleet = new KyselyFleetStore({ db: catalog.db.withTables<FleetTables>() });
    assert.equal(await fleet.changeMembers((change) => change.nextSerial()), 1);
    await catalog.close();
    const later = await open();
    assert.ok(await later.manifest(REPOSITORY, { tag: 'a' }));
    const laterFleet = new KyselyFleetStore({ db: later.db.withTables<FleetTables>() });
    assert.equal(await laterFleet.changeMembers((change) => change.nextSerial()), 2);
  });

  check('a database of a newer program is left alone', async ({ catalog, open }) => {
    const versions = catalog.db.withTables<{ schema_version: { version: number } }>();
    await versions.insertInto('schema_version').values({ version: 999 }).execute();
    await assert.rejects(open(), { code: 'SCHEMA_TOO_NEW' });
  });

  check('pushes that move the same tags at once all succeed', async ({ catalog }) => {
    const tags = ['a', 'b', 'c', 'd'];
    const pushes = Array.from({ length: 24 }, (_, i) => {
      const own = i % 2 === 0 ? tags : tags.toReversed();
      return catalog.putManifest(manifest(`image ${i}`, { tags: own, references: blobs('x') }));
    });
    await Promise.all(pushes);
    const moved = await Promise.all(tags.map((tag) => catalog.tagged(REPOSITORY, tag)));
    assert.equal(new Set(moved).size, 1);
  });
}
