import assert from 'node:assert/strict';
import { access, cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { digestHex, digestOf } from '../../proto/oci/digest.ts';
import { TestHub } from '../registry/test-hub.ts';
import { backup, clientOf, restore, scratch, verify } from './backup-rig.ts';

const LAYER = Buffer.from('the bytes of a layer');
let hub: TestHub;
before(async () => {
  hub = await TestHub.start();
  await hub.pushImage('v1', [LAYER]);
});
after(() => hub[Symbol.asyncDispose]());

type Place = { folder: string; catalog: string; blob: string; manifest: string };

/** A whole backup, and where its parts are. */
async function whole(t: TestContext): Promise<Place> {
  const folder = path.join(await scratch(t), 'backup');
  const ring = path.join(hub.folder, 'keys', 'key-ring.pem');
  await backup(hub, folder, { keyRing: await readFile(ring, 'utf8') });
  const manifest = path.join(folder, 'backup.json');
  const { catalog } = JSON.parse(await readFile(manifest, 'utf8'));
  const blob = path.join(folder, 'blobs', 'sha256', digestHex(digestOf(LAYER)));
  return { folder, catalog: path.join(folder, catalog.file), blob, manifest };
}

async function flip(file: string, at: number): Promise<void> {
  const bytes = await readFile(file);
  const index = (at + bytes.length) % bytes.length;
  bytes[index] = (bytes[index] ?? 0) ^ 1;
  await writeFile(file, bytes);
}

const DAMAGES: readonly [string, (place: Place) => Promise<unknown>, RegExp][] = [
  ['no folder', ({ folder }) => rm(folder, { recursive: true }), /there is no backup/],
  ['no manifest', ({ manifest }) => rm(manifest), /backup.json is missing/],
  ['a manifest that was cut', ({ manifest }) => truncate(manifest, 99), /backup.json is no JSON/],
  ['another byte in the manifest', ({ manifest }) => flip(manifest, 45), /backup.json/],
  ['no catalog', ({ catalog }) => rm(catalog), /catalog-\w+.ndjson is missing/],
  ['another byte in the catalog', ({ catalog }) => flip(catalog, -9), /ndjson was changed/],
  ['rows that are cut', ({ catalog }) => truncate(catalog, 700), /ndjson has 700 of \d+ bytes/],
  ['no blob', ({ blob }) => rm(blob), /sha256:\w+: the blob is missing/],
  ['a blob that is cut', ({ blob }) => truncate(blob, 3), /the blob has 3 of 20 bytes/],
  ['another byte in a blob', ({ blob }) => flip(blob, 7), /bytes of the blob are sha256/],
  [
    'a later format',
    async ({ manifest }) => {
      const text = await readFile(manifest, 'utf8');
      await writeFile(manifest, text.replace('"format": 1', '"format": 2'));
    },
    /has format 2, this program reads 1/,
  ],
];

for (const [title, harm, complaint] of DAMAGES) {
  test(`a backup with ${title} is told to be so, and not restored`, async (t) => {
    const place = await whole(t);
    assert.deepEqual((await verify(place.folder)).problems, []);
    await harm(place);
    const { problems, found } = await verify(place.folder);
    assert.equal(found, 1);
    assert.match(problems.join(), complaint);
    const dataDir = path.join(await scratch(t), 'data');
    await assert.rejects(restore(place.folder, dataDir), complaint);
    await assert.rejects(access(path.join(dataDir, 'catalog.sqlite')), { code: 'ENOENT' });
  });
}

test('keys that were changed are noticed', async (t) => {
  const { folder } = await whole(t);
  const ring = (await readdir(folder)).find((name) => name.startsWith('key-ring-')) ?? '';
  await flip(path.join(folder, ring), -40);
  assert.match((await verify(folder, false)).problems.join(), /key-ring-\w+.pem was changed/);
  await assert.rejects(restore(folder, path.join(await scratch(t), 'data')));
});

test('a restore that was interrupted is gone on with, and no hub starts before', async (t) => {
  const { folder, blob } = await whole(t);
  const dataDir = path.join(await scratch(t), 'data');
  await flip(blob, 3);
  await assert.rejects(restore(folder, dataDir), { code: 'BACKUP_DAMAGED' });
  const starting = TestHub.start({}, { folder: dataDir, keep: true });
  await assert.rejects(starting, { code: 'RESTORE_UNFINISHED' });
  await flip(blob, 3);
  const { blobs } = await restore(folder, dataDir, { policy: 'kept' });
  assert.equal(blobs.stored + blobs.there, 2);
  await using again = await TestHub.start({}, { folder: dataDir });
  assert.equal((await again.ask('/v2/team/app/manifests/v1')).status, 200);
});

test('a restore mixes with nothing, and moves things out of the way when told so', async (t) => {
  const { folder } = await whole(t);
  const dataDir = path.join(await scratch(t), 'data');
  await using used = await TestHub.start({}, { folder: dataDir, keep: true });
  await assert.rejects(restore(folder, dataDir), { code: 'FOLDER_IN_USE' });
  await used.pushImage('other', [Buffer.from('of the other hub')]);
  await used.hub.close();
  await assert.rejects(restore(folder, dataDir), { code: 'KEYS_OTHER' });
  await rm(path.join(dataDir, 'keys'), { recursive: true });
  await assert.rejects(restore(folder, dataDir), { code: 'TARGET_NOT_EMPTY' });
  await restore(folder, dataDir, { replace: true, policy: 'kept' });
  const aside = (await readdir(dataDir)).find((name) => name.startsWith('replaced-')) ?? '';
  const kept = await readdir(path.join(dataDir, aside));
  assert.deepEqual(kept.toSorted(), ['catalog.sqlite', 'registry']);
  await using again = await TestHub.start({}, { folder: dataDir });
  assert.equal((await again.ask('/v2/team/app/manifests/v1')).status, 200);
  assert.equal((await again.ask('/v2/team/app/manifests/other')).status, 404);
});

test('a backup of the catalog alone goes with blobs that are there still', async (t) => {
  const folder = path.join(await scratch(t), 'backup');
  await backup(hub, folder, { catalogOnly: true });
  assert.deepEqual((await verify(folder)).problems, []);
  const dataDir = path.join(await scratch(t), 'data');
  const ring = path.join(hub.folder, 'keys', 'key-ring.pem');
  const keyRing = await readFile(ring, 'utf8');
  const options = { policy: 'kept', keyRing } as const;
  await assert.rejects(restore(folder, dataDir, options), /the store has no blob sha256:/);
  await cp(path.join(hub.folder, 'registry'), path.join(dataDir, 'registry'), { recursive: true });
  await restore(folder, dataDir, options);
  await using again = await TestHub.start({}, { folder: dataDir });
  assert.ok((await again.ask(`/v2/team/app/blobs/${digestOf(LAYER)}`)).body.equals(LAYER));
});

test('while a backup is brought up to date, the one before it is whole', async (t) => {
  const { folder } = await whole(t);
  const ring = path.join(hub.folder, 'keys', 'key-ring.pem');
  await hub.api('POST', '/keys/token/rotate');
  await hub.pushImage('v2', [Buffer.from('another layer')]);
  const client = clientOf(hub);
  client.blob = () => Promise.reject(new Error('broken off'));
  const keyRing = await readFile(ring, 'utf8');
  const broken = backup(hub, folder, { keyRing, incremental: true, client });
  await assert.rejects(broken, /broken off/);
  assert.deepEqual((await verify(folder)).problems, []);
  const dataDir = path.join(await scratch(t), 'data');
  const { manifest } = await restore(folder, dataDir, { policy: 'kept' });
  assert.equal(manifest.catalog.rows['tag'], 1);
});
