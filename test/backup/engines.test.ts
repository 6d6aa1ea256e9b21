// One kind of backup for every database and every storage.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { TestHub } from '../registry/test-hub.ts';
import { sharedKeys } from '../registry/shared-keys.ts';
import { s3ForTests } from '../registry/s3/s3-rig.ts';
import { postgresForTests } from '../rig/postgres.ts';
import { backup, check, restore, scratch, verify } from './backup-rig.ts';

type Sections = Record<string, object>;

const MIB = 1024 * 1024;
const LAYERS = [randomBytes(11 * MIB), randomBytes(5 * MIB + 7), Buffer.from('small')];

const { skip, server: postgres } = postgresForTests();
const { skip: skipS3, server: s3 } = s3ForTests(skip);

async function inPostgres(): Promise<Sections> {
  const server = await postgres();
  return { catalog: { url: server.url(await server.createDatabase()), tls: 'off' } };
}

function inBucket(prefix: string): Sections {
  return s3().sections(`${prefix}/`);
}

/** A hub with an image, and its keys. */
async function populated(t: TestContext, sections: Sections) {
  const hub = await TestHub.start(sections);
  t.after(() => hub[Symbol.asyncDispose]());
  const image = await hub.pushImage('v1', LAYERS);
  const keyRing = await readFile(path.join(hub.folder, 'keys', 'key-ring.pem'), 'utf8');
  return { hub, image, keyRing };
}

async function assertServes(hub: TestHub, manifest: Buffer): Promise<void> {
  assert.ok((await hub.ask('/v2/team/app/manifests/v1')).body.equals(manifest));
  for (const layer of LAYERS) {
    const { body } = await hub.ask(`/v2/team/app/blobs/${digestOf(layer)}`);
    assert.ok(body.equals(layer));
  }
  await hub.pushImage('next', [Buffer.from('pushed later')]);
}

test('a hub moves from SQLite to PostgreSQL and back by backups', { skip }, async (t) => {
  const folder = await scratch(t);
  const at = (name: string): string => path.join(folder, name);
  const { hub, image, keyRing } = await populated(t, {});
  await hub.api('POST', '/accounts', { name: 'ada', password: 'password of ada' });
  await backup(hub, at('one'), { keyRing });
  const sections = await inPostgres();
  await restore(at('one'), at('postgres'), { sections, policy: 'kept' });
  const used = restore(at('one'), at('another'), { sections, policy: 'kept' });
  await assert.rejects(used, { code: 'TARGET_NOT_EMPTY' });
  await using moved = await TestHub.start(sections, { folder: at('postgres') });
  await assertServes(moved, image.bytes);
  await backup(moved, at('two'), { keyRing });
  assert.deepEqual((await verify(at('two'))).problems, []);
  await restore(at('two'), at('sqlite'), { policy: 'kept', keyRing });
  assert.deepEqual((await check(at('sqlite'))).counts, {});
  await using back = await TestHub.start({}, { folder: at('sqlite') });
  await assertServes(back, image.bytes);
  const ada = `Basic ${Buffer.from('ada:password of ada').toString('base64')}`;
  assert.equal((await back.ask('/v2/', { authorization: ada })).status, 200);
});

test('a hub that cannot read the blobs of its catalog calls none lost', { skip }, async (t) => {
  const folder = await scratch(t);
  const sections = { ...(await inPostgres()), fleet: await sharedKeys(t) };
  await using owner = await TestHub.start(sections);
  await owner.pushImage('v1', LAYERS);
  await using other = await TestHub.start(sections);
  const to = path.join(folder, 'backup');
  await assert.rejects(backup(other, to), /folder of another hub.*make the backup there/);
  assert.deepEqual(await readdir(folder), [], 'nothing is left of it');
  await backup(other, to, { catalogOnly: true });
  const { manifest } = await backup(owner, to, { incremental: true });
  assert.deepEqual(manifest.blobs?.missing, []);
});

test('a hub moves from a bucket to a folder and back by backups', { skip: skipS3 }, async (t) => {
  const folder = await scratch(t);
  const at = (name: string): string => path.join(folder, name);
  const first = { ...(await inPostgres()), ...inBucket('first') };
  const { hub, image, keyRing } = await populated(t, first);
  await backup(hub, at('one'), { keyRing });
  await restore(at('one'), at('files'), { policy: 'kept' });
  assert.deepEqual((await check(at('files'))).counts, {});
  await using files = await TestHub.start({}, { folder: at('files') });
  await assertServes(files, image.bytes);
  await backup(files, at('two'), { keyRing });
  const second = { ...(await inPostgres()), ...inBucket('second') };
  const { blobs } = await restore(at('two'), at('s3'), { sections: second, policy: 'kept' });
  assert.equal(blobs.there, 0);
  await using again = await TestHub.start(second, { folder: at('s3') });
  await assertServes(again, image.bytes);
});

test('objects that are in the bucket still are not stored again', { skip: skipS3 }, async (t) => {
  const folder = await scratch(t);
  const at = (name: string): string => path.join(folder, name);
  const bucket = inBucket('kept');
  const { hub, image, keyRing } = await populated(t, { ...(await inPostgres()), ...bucket });
  await backup(hub, at('backup'), { keyRing, catalogOnly: true });
  await backup(hub, at('whole'), { keyRing });
  const keys = await s3().keys('kept/');
  const [gone = ''] = keys.objects.filter((key) => key.includes('/blobs/'));
  const sections = { ...(await inPostgres()), ...bucket };
  const { blobs } = await restore(at('backup'), at('data'), { sections, policy: 'kept' });
  assert.deepEqual([blobs.stored, blobs.there], [0, 4]);
  assert.deepEqual(await s3().keys('kept/'), keys);
  await using again = await TestHub.start(sections, { folder: at('data') });
  await assertServes(again, image.bytes);
  await s3().remove(gone);
  const lost = { ...(await inPostgres()), ...bucket };
  const failing = restore(at('backup'), at('lost'), { sections: lost, policy: 'kept' });
  await assert.rejects(failing, /the store has no blob/);
  const mended = { ...(await inPostgres()), ...bucket };
  const { blobs: stored } = await restore(at('whole'), at('mended'), {
    sections: mended,
    policy: 'kept',
  });
  assert.deepEqual([stored.stored, stored.there], [1, 3]);
  await using whole = await TestHub.start(mended, { folder: at('mended') });
  await assertServes(whole, image.bytes);
});
