import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { digestHex, digestOf, type Digest } from '../../proto/oci/digest.ts';
import { lockFolder } from '../../proto/ops/folder-lock.ts';
import { postgresForTests } from '../../test/rig/postgres.ts';
import { FilesystemBlobStore } from '../blobs/filesystem.ts';
import { openPostgresCatalog } from '../catalog/postgres-catalog.ts';
import { enterCatalog } from '../catalog/presence.ts';
import { TestGc } from '../gc/gc-fixture.ts';
import { holderOf } from '../registry/holder.ts';
import { checkConformance, type CheckRig } from '../../test/registry/check-conformance.ts';
import { formatReport } from './check.ts';
import { checkHub } from './check-hub.ts';

const { signal } = new AbortController();
const { skip, server: postgres } = postgresForTests();
const look = { hash: false, repair: true };

/** Files of a hub in this data folder. */
function rigOf(gc: TestGc, dataDir: string, catalog: CheckRig['config']['catalog']): CheckRig {
  const root = path.join(dataDir, 'registry');
  const fileOf = (digest: Digest): string => {
    const hex = digestHex(digest);
    return path.join(root, 'blobs', 'sha256', hex.slice(0, 2), hex);
  };
  const write = async (digest: Digest, bytes: Buffer): Promise<void> => {
    await mkdir(path.dirname(fileOf(digest)), { recursive: true });
    await writeFile(fileOf(digest), bytes);
  };
  return {
    gc,
    config: { hub: { dataDir }, blobs: { driver: 'filesystem' }, catalog },
    lose: (digest) => rm(fileOf(digest)),
    replace: write,
    stray: (bytes) => write(digestOf(bytes), bytes),
    abandon: (bytes) => writeFile(path.join(root, 'uploads', randomUUID()), bytes),
    count: async () => {
      const entries = await readdir(root, { recursive: true, withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile());
      return files.filter(({ parentPath }) => !parentPath.includes('damaged')).length;
    },
  };
}

async function ofSqlite(t: TestContext): Promise<CheckRig> {
  const gc = await TestGc.start(t);
  return rigOf(gc, gc.registry.folder, {});
}

async function ofPostgres(t: TestContext): Promise<CheckRig & { url: string }> {
  const server = await postgres();
  const database = await server.createDatabase();
  const dataDir = await mkdtemp(path.join(tmpdir(), 'flotilla-check-'));
  const catalog = await openPostgresCatalog({ ...server.target, database });
  const blobs = await FilesystemBlobStore.open({ root: path.join(dataDir, 'registry') });
  const gc = await TestGc.start(t, { catalog, blobs });
  t.after(async () => {
    await blobs.close();
    await catalog.close();
    await rm(dataDir, { recursive: true });
  });
  const url = server.url(database);
  return { ...rigOf(gc, dataDir, { url, tls: 'off' }), url };
}

checkConformance('SQLite and files', ofSqlite);
checkConformance('PostgreSQL and files', ofPostgres, { skip });

test('a manifest whose blob its repository has not is told of', async (t) => {
  const { gc, config } = await ofSqlite(t);
  const layer = Buffer.from('layer');
  await gc.pushImage([layer]);
  await gc.registry.catalog.db.deleteFrom('repository_blob').execute();
  const { counts } = await checkHub(config, look, { signal });
  assert.deepEqual(counts, { absent: 1 });
});

test('the report for people counts as they do', () => {
  const report = { blobs: 1, bytes: 7, hashed: 0, repaired: 0, problems: [] };
  assert.equal(
    formatReport({ ...report, counts: { missing: 1 } }),
    '1 blob, 7 bytes: 1 problem, 0 repaired\n',
  );
  assert.match(formatReport({ ...report, counts: {} }), /: 0 problems, 0 repaired\n$/);
});

test('a manifest whose blob was taken down is nothing wrong', async (t) => {
  const { gc, config } = await ofSqlite(t);
  const layer = Buffer.from('layer');
  await gc.pushImage([layer]);
  const { db } = gc.registry.catalog;
  await db.deleteFrom('repository_blob').execute();
  const purged = { digest: digestOf(layer), purged_at_ms: 1 };
  await db.insertInto('purged_digest').values(purged).execute();
  assert.deepEqual((await checkHub(config, look, { signal })).counts, {});
});

test('a folder without a catalog is refused as a wrong setting, and left as it is', async (t) => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'flotilla-check-'));
  t.after(() => rm(dataDir, { recursive: true }));
  const config = { hub: { dataDir }, blobs: { driver: 'filesystem' }, catalog: {} };
  const wrong = { code: 'CONFIG_INVALID', message: /hub\.dataDir: no hub has run with/ };
  await assert.rejects(checkHub(config, look, { signal }), wrong);
  assert.deepEqual(await readdir(dataDir), []);
});

test('a hub that runs is not checked, in its folder or at its database', { skip }, async (t) => {
  const { gc, config } = await ofPostgres(t);
  const folder = lockFolder(config.hub.dataDir);
  await assert.rejects(checkHub(config, look, { signal }), { code: 'FOLDER_IN_USE' });
  folder[Symbol.dispose]();
  const { db } = gc.registry.catalog;
  const hub = await enterCatalog(db, 'hub');
  await using other = await enterCatalog(db, 'hub');
  void other;
  await assert.rejects(checkHub(config, look, { signal }), { code: 'CATALOG_IN_USE' });
  await hub[Symbol.asyncDispose]();
  await assert.rejects(checkHub(config, look, { signal }), { code: 'CATALOG_IN_USE' });
});

test('while a check goes on no hub starts, and a killed one is forgotten', { skip }, async (t) => {
  const { gc, config } = await ofPostgres(t);
  const { db } = gc.registry.catalog;
  const check = await enterCatalog(db, 'check');
  await assert.rejects(enterCatalog(db, 'hub'), { code: 'CATALOG_IN_USE', message: /wait \d+ s/ });
  await assert.rejects(enterCatalog(db, 'check'), { code: 'CATALOG_IN_USE' });
  await check[Symbol.asyncDispose]();
  await db
    .insertInto('collector')
    .values({
      name: 'user-hub killed',
      holder: '',
      epoch: 0,
      begun_at_ms: 0,
      held_until_ms: Date.now() - 1,
    })
    .execute();
  assert.deepEqual((await checkHub(config, look, { signal })).counts, {});
  const users = db.selectFrom('collector').select('name').where('name', 'like', 'user-%');
  assert.deepEqual(await users.execute(), []);
});

test('a killed hub holds nobody up who has its folder now', { skip }, async (t) => {
  const { gc, config } = await ofPostgres(t);
  const { db } = gc.registry.catalog;
  const folder = await holderOf(config.hub.dataDir);
  await using hub = await enterCatalog(db, 'hub', { folder });
  void hub;
  await assert.rejects(enterCatalog(db, 'check'), { code: 'CATALOG_IN_USE' });
  await assert.rejects(enterCatalog(db, 'check', { folder: 'another' }), {
    code: 'CATALOG_IN_USE',
  });
  assert.deepEqual((await checkHub(config, look, { signal })).counts, {});
  await using check = await enterCatalog(db, 'check', { folder });
  void check;
  await assert.rejects(enterCatalog(db, 'hub', { folder: 'another' }), { code: 'CATALOG_IN_USE' });
  await using again = await enterCatalog(db, 'hub', { folder });
  void again;
});

test('blobs are not compared with the catalog of another folder', { skip }, async (t) => {
  const { gc, config, url } = await ofPostgres(t);
  await gc.pushImage([Buffer.from('layer')]);
  await checkHub(config, look, { signal });
  const strange = await ofSqlite(t);
  await strange.gc.pushImage([Buffer.from('precious')]);
  const mixed = { ...strange.config, catalog: { url, tls: 'off' as const } };
  await assert.rejects(checkHub(mixed, look, { signal }), { code: 'CONFIG_INVALID' });
  assert.equal(await strange.count(), 1, 'nothing was removed');
  const adopted = await checkHub(mixed, { ...look, adopt: true }, { signal });
  assert.deepEqual(adopted.counts, { orphan: 1, missing: 1, absent: 1 });
  await assert.rejects(checkHub(config, look, { signal }), { code: 'CONFIG_INVALID' });
});
