import assert from 'node:assert/strict';
import { access, mkdir, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { digestHex, digestOf, type Digest } from '../../proto/oci/digest.ts';
import { lockFolder } from '../../proto/ops/folder-lock.ts';
import { imageOf, TestGc } from '../gc/gc-fixture.ts';
import { formatReport } from './check.ts';
import { checkHub } from './check-hub.ts';

const { signal } = new AbortController();
const LAYERS = ['whole', 'gone', 'cut short', 'changed'].map((text) => Buffer.from(text));
const [, gone = Buffer.alloc(0), short = Buffer.alloc(0), changed = Buffer.alloc(0)] = LAYERS;

/** A hub with one image, and where a blob of it is. */
async function hubOf(t: TestContext) {
  const gc = await TestGc.start(t);
  const { folder } = gc.registry;
  await gc.pushImage(LAYERS);
  const fileOf = (digest: Digest): string => {
    const hex = digestHex(digest);
    return path.join(folder, 'registry', 'blobs', 'sha256', hex.slice(0, 2), hex);
  };
  return { gc, dataDir: folder, fileOf };
}

function check(
  dataDir: string,
  options: { hash: boolean; repair: boolean },
  elsewhere: { catalog?: { url: string }; blobs?: { driver: string } } = {},
) {
  const config = { hub: { dataDir }, blobs: { driver: 'filesystem' }, catalog: {}, ...elsewhere };
  return checkHub(config, options, { signal });
}

test('nothing is wrong with a hub that was left alone', async (t) => {
  const { dataDir } = await hubOf(t);
  const report = await check(dataDir, { hash: true, repair: false });
  assert.deepEqual([report.counts, report.blobs, report.hashed], [{}, 4, 4]);
});

test('everything wrong is found, and what can be repaired is', async (t) => {
  const { gc, dataDir, fileOf } = await hubOf(t);
  const orphan = digestOf(Buffer.from('orphan'));
  await rm(fileOf(digestOf(gone)));
  await truncate(fileOf(digestOf(short)), 3);
  await writeFile(fileOf(digestOf(changed)), 'chanGed');
  await mkdir(path.dirname(fileOf(orphan)), { recursive: true });
  await writeFile(fileOf(orphan), 'orphan');
  await gc.registry.catalog.db
    .deleteFrom('repository_blob')
    .where('digest', '=', digestOf(LAYERS[0] ?? gone))
    .execute();
  const look = await check(dataDir, { hash: true, repair: false });
  const wrong = { missing: 1, short: 1, corrupt: 2, orphan: 1, absent: 1 };
  assert.deepEqual([look.counts, look.repaired], [wrong, 0]);
  assert.match(formatReport(look), new RegExp(`missing: ${digestOf(gone)}.*gone`));
  await access(fileOf(orphan));
  const mended = await check(dataDir, { hash: true, repair: true });
  assert.equal(mended.repaired, 3);
  await assert.rejects(access(fileOf(orphan)), { code: 'ENOENT' });
  await access(path.join(dataDir, 'registry', 'damaged', digestHex(digestOf(changed))));
  for (const layer of LAYERS) await gc.registry.push(layer);
  assert.equal((await gc.putManifest(imageOf(LAYERS))).status, 201);
  const after = await check(dataDir, { hash: true, repair: false });
  assert.deepEqual(after.counts, {});
});

test('a hub that runs is not checked', async (t) => {
  const { dataDir } = await hubOf(t);
  using lock = lockFolder(dataDir);
  void lock;
  await assert.rejects(check(dataDir, { hash: false, repair: true }), { code: 'FOLDER_IN_USE' });
});

test('a hub whose data is elsewhere is not checked against its data folder', async (t) => {
  const { dataDir, fileOf } = await hubOf(t);
  const options = { hash: false, repair: true };
  const catalog = { url: 'postgres://flotilla@db.example/flotilla' };
  await assert.rejects(check(dataDir, options, { catalog }), { code: 'CONFIG_INVALID' });
  await assert.rejects(check(dataDir, options, { blobs: { driver: 's3' } }), {
    code: 'CONFIG_INVALID',
  });
  await access(fileOf(digestOf(gone)));
});
