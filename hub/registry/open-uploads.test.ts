import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { createLogger } from '../../proto/ops/logger.ts';
import { FilesystemBlobStore } from '../blobs/filesystem.ts';
import { openSqliteCatalog } from '../catalog/sqlite-catalog.ts';
import { KyselyUploadStore, type UploadTables } from '../catalog/upload-store.ts';
import {
  UPLOADS_COUNT_MS,
  UPLOAD_HOLD_MS,
  UPLOAD_HOLD_RENEW_MS,
  UPLOAD_IDLE_MS,
  UPLOAD_RELEASE_MS,
} from './constants.ts';
import { OpenUploads } from './open-uploads.ts';
import type { UploadTarget } from './upload-store.ts';

const HELD = { code: 'BLOB_UPLOAD_INVALID' };
const HELD_ELSEWHERE = { code: 'UNAVAILABLE' };
const OWNER = { repository: 'team/app', subject: 'ann' };

/** One place and one catalog, for several hubs with a clock of the test's own. */
async function rig(t: TestContext) {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-uploads-'));
  const catalog = await openSqliteCatalog({ path: path.join(folder, 'catalog.sqlite') });
  const store = new KyselyUploadStore(
    { shared: true },
    { db: catalog.db.withTables<UploadTables>() },
  );
  const clock = { ms: Date.now() };
  const opened: FilesystemBlobStore[] = [];
  t.after(async () => {
    await Promise.all(opened.map((blobs) => blobs.close()));
    await catalog.close();
    await rm(folder, { recursive: true });
  });
  const hub = async (holder: string, uploadsMax = 10, pendingMax = 10): Promise<OpenUploads> => {
    const blobs = await FilesystemBlobStore.open({ root: folder, pendingMax });
    opened.push(blobs);
    const logger = createLogger({ level: 'silent', name: 'test' });
    const modules = { blobs, store, logger, now: () => clock.ms };
    return new OpenUploads({ uploadsMax, holder }, modules);
  };
  return { hub, store, clock, files: () => readdir(path.join(folder, 'uploads')) };
}

async function* slices(...parts: Buffer[]): AsyncGenerator<Buffer> {
  yield* parts;
}

function append(uploads: OpenUploads, target: UploadTarget, bytes: Buffer): Promise<void> {
  return uploads.exclusively(target, async (upload) => {
    await upload.session.append(slices(bytes), () => undefined);
    upload.outcome = 'keep';
  });
}

test('an upload that nobody uses expires at every hub, with its bytes', async (t) => {
  const { hub, clock, files } = await rig(t);
  const [one, other] = [await hub('one'), await hub('other')];
  const [idle, used] = [await one.create(OWNER), await one.create(OWNER)];
  await append(one, idle, randomBytes(10));
  clock.ms += UPLOAD_IDLE_MS - 1_000;
  await append(other, used, randomBytes(10));
  await other.sweep();
  assert.equal((await files()).length, 2);
  clock.ms += 2_000;
  await other.sweep();
  assert.deepEqual(await files(), [used.id]);
  assert.equal(other.count, 1);
  await assert.rejects(append(one, idle, randomBytes(1)), { code: 'BLOB_UPLOAD_UNKNOWN' });
  await append(one, used, randomBytes(10));
  assert.equal(await one.size(used), 20);
});

test('what no upload names is removed after a grace', async (t) => {
  const { hub, clock, files } = await rig(t);
  const [one, other] = [await hub('one'), await hub('other')];
  const named = await one.create(OWNER);
  await one.nameless('ann', async (session) => {
    await session.append(slices(randomBytes(10)), () => undefined);
    await other.sweep();
    assert.equal((await files()).length, 2);
    await session.park();
    await session.release();
  });
  clock.ms += UPLOAD_IDLE_MS / 2;
  await append(one, named, randomBytes(10));
  clock.ms += UPLOAD_IDLE_MS - 1_000;
  await other.sweep();
  assert.deepEqual(await files(), [named.id]);
});

test('a hub that died lets go when its time is up, or when it starts anew', async (t) => {
  const { hub, store, clock } = await rig(t);
  const [died, other] = [await hub('died'), await hub('other')];
  const targets = [await died.create(OWNER), await died.create(OWNER)] as const;
  for (const target of targets) {
    const untilMs = clock.ms + UPLOAD_HOLD_MS;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await store.hold(target, { holder: 'died', nowMs: clock.ms, untilMs });
  }
  await assert.rejects(append(other, targets[0], randomBytes(1)), HELD_ELSEWHERE);
  clock.ms += UPLOAD_HOLD_MS + 1;
  await append(other, targets[0], randomBytes(1));
  clock.ms -= UPLOAD_HOLD_MS + 1;
  await store.letGoOf('died');
  await append(other, targets[1], randomBytes(1));
});

test('a request that takes long keeps its upload, unless its hub stood still', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { hub, store, clock } = await rig(t);
  const [slow, other] = [await hub('slow'), await hub('other')];
  const target = await slow.create(OWNER);
  const renewed = t.mock.method(store, 'extend');
  const stalled = slow.exclusively(target, async (upload) => {
    await upload.session.append(slices(Buffer.from('first ')), () => undefined);
    clock.ms += UPLOAD_HOLD_MS - 1;
    t.mock.timers.tick(UPLOAD_HOLD_RENEW_MS);
    await renewed.mock.calls[0]?.result;
    clock.ms += UPLOAD_HOLD_MS - 1;
    await assert.rejects(append(other, target, randomBytes(1)), HELD_ELSEWHERE);
    clock.ms += 2;
    await append(other, target, Buffer.from('other'));
    t.mock.timers.tick(UPLOAD_HOLD_RENEW_MS);
    await renewed.mock.calls[1]?.result;
    await new Promise((resolve) => setImmediate(resolve));
    await upload.session.append(slices(Buffer.from('late')), () => undefined);
  });
  await assert.rejects(stalled, HELD);
  assert.equal(await other.size(target), 5, 'where the last answered request left it');
  await append(slow, target, Buffer.from(' more'));
  assert.equal(await other.size(target), 10);
});

test('an upload that rests holds no file of the hub and goes on nevertheless', async (t) => {
  const { hub, clock } = await rig(t);
  const uploads = await hub('hub', 2, 1);
  const target = await uploads.create(OWNER);
  await append(uploads, target, Buffer.from('one'));
  await assert.rejects(uploads.create(OWNER), { code: 'PENDING_LIMIT' });
  clock.ms += UPLOAD_RELEASE_MS + 1;
  await uploads.sweep();
  await uploads.nameless('ann', (other) =>
    other.append(slices(Buffer.from('other')), () => undefined),
  );
  await append(uploads, target, Buffer.from('two'));
  assert.equal(await uploads.size(target), 6);
});

test('the bound counts the uploads of all hubs', async (t) => {
  const { hub, clock, files } = await rig(t);
  const [one, other] = [await hub('one', 2), await hub('other', 2)];
  await one.create(OWNER);
  const target = await one.create(OWNER);
  await assert.rejects(one.create(OWNER), { code: 'TOOMANYREQUESTS' });
  await assert.rejects(other.create(OWNER), { code: 'TOOMANYREQUESTS' });
  await other.exclusively(target, async (upload) => {
    upload.outcome = 'drop';
  });
  await other.create(OWNER);
  await assert.rejects(other.create(OWNER), { code: 'TOOMANYREQUESTS' });
  await assert.rejects(one.create(OWNER), { code: 'TOOMANYREQUESTS' });
  const [left] = await one.sweep().then(() => files());
  await one.exclusively({ ...OWNER, id: left ?? '' }, async (upload) => {
    upload.outcome = 'drop';
  });
  clock.ms += UPLOADS_COUNT_MS;
  await other.create(OWNER);
});

test('of uploads that begin at once no more than the bound do', async (t) => {
  const { hub } = await rig(t);
  const uploads = await hub('hub', 3);
  const begun = await Promise.allSettled(Array.from({ length: 9 }, () => uploads.create(OWNER)));
  assert.equal(begun.filter(({ status }) => status === 'fulfilled').length, 3);
  assert.equal(uploads.count, 3);
});
