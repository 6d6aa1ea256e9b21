import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { createLogger } from '../../proto/ops/logger.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { FilesystemBlobStore } from '../blobs/filesystem.ts';
import { openSqliteCatalog } from '../catalog/sqlite-catalog.ts';
import { KyselyUploadStore, type UploadTables } from '../catalog/upload-store.ts';
import { UPLOADS_COUNT_MS, UPLOAD_YIELD_MS } from './constants.ts';
import { OpenUploads } from './open-uploads.ts';
import { assertRefused, TestRegistry } from './registry-fixture.ts';
import type { UploadTarget } from './upload-store.ts';

const [MAX, SHARE] = [8, 3];
const SUBJECTS = ['ann', 'bob', 'cid', 'dan'];

async function subjectOf({ headers }: IncomingMessage): Promise<string> {
  return String(headers['x-subject']);
}

test('who has his share of the uploads is told so, and others begin theirs', async (t) => {
  const hub = await TestRegistry.start(t, { uploadsMax: 10, uploadsPerSubjectMax: 2, subjectOf });
  const begin = (subject: string, query = '') =>
    hub.ask(`/v2/team/app/blobs/uploads/${query}`, {
      method: 'POST',
      headers: { 'x-subject': subject },
    });
  const mine = [await begin('ann'), await begin('ann')];
  const refused = await begin('ann');
  assertRefused(refused, 429, 'TOOMANYREQUESTS');
  assert.match(refused.body.toString(), /you have 2 uploads open/);
  assert.match(String(refused.headers['retry-after']), /^\d+$/);
  const whole = await begin('ann', `?digest=sha256:${'0'.repeat(64)}`);
  assertRefused(whole, 429, 'TOOMANYREQUESTS');
  assert.equal((await begin('bob')).status, 202);
  const target = String(mine[0]?.headers['location']);
  await hub.ask(target, { method: 'DELETE', headers: { 'x-subject': 'ann' } });
  assert.equal((await begin('ann')).status, 202);
});

/** Two hubs over one store, with a clock of the test's own. */
async function twoHubs(t: TestContext) {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-places-'));
  const catalog = await openSqliteCatalog({ path: ':memory:' });
  const blobs = await FilesystemBlobStore.open({ root: folder });
  t.after(async () => {
    await blobs.close();
    await catalog.close();
    await rm(folder, { recursive: true });
  });
  const store = new KyselyUploadStore(
    { shared: true },
    { db: catalog.db.withTables<UploadTables>() },
  );
  const clock = { ms: Date.now() };
  const logger = createLogger({ level: 'silent', name: 'test' });
  const hubOf = (holder: string): OpenUploads =>
    new OpenUploads(
      { uploadsMax: MAX, perSubjectMax: SHARE, holder },
      { blobs, store, logger, now: () => clock.ms },
    );
  return { hubs: [hubOf('one'), hubOf('other')] as const, clock, store };
}

type Step = { kind: 'begin' | 'drop'; hub: 0 | 1; subject: string; which: number };

const STEPS = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom('begin', 'begin', 'drop'),
    hub: fc.constantFrom(0, 1),
    subject: fc.constantFrom(...SUBJECTS),
    which: fc.nat(),
  }),
  { maxLength: 40 },
);

test('nobody has more than a share, and who has less gets a place while one is free', async (t) => {
  const property = fc.asyncProperty(STEPS, async (steps) => {
    const { hubs, clock } = await twoHubs(t);
    const open: UploadTarget[] = [];
    for (const { kind, hub, subject, which } of steps) {
      // Both hubs may look again at what the other one did.
      clock.ms += UPLOADS_COUNT_MS;
      await hubs[hub].sweep();
      const own = open.filter((target) => target.subject === subject);
      if (kind === 'drop') {
        const target = own[which % Math.max(1, own.length)];
        if (target === undefined) continue;
        await hubs[hub].exclusively(target, async (upload) => void (upload.outcome = 'drop'));
        open.splice(open.indexOf(target), 1);
        continue;
      }
      const fits = own.length < SHARE && open.length < MAX;
      const begun = await hubs[hub]
        .create({ repository: 'team/app', subject })
        .catch((err: unknown) => {
          assert.ok(hasCode(err, 'TOOMANYREQUESTS'));
        });
      assert.equal(begun !== undefined, fits, `${own.length} of ${open.length} are of ${subject}`);
      if (begun) open.push(begun);
    }
  });
  await fc.assert(property, { numRuns: 25 });
});

test('begun at once, they are no more than the share', async (t) => {
  const { hubs } = await twoHubs(t);
  const begin = (subject: string) => hubs[0].create({ repository: 'team/app', subject });
  const wishes = SUBJECTS.flatMap((subject) => Array.from({ length: 6 }, () => begin(subject)));
  const begun = (await Promise.allSettled(wishes)).flatMap((one) =>
    one.status === 'fulfilled' ? [one.value.subject] : [],
  );
  assert.equal(begun.length, MAX);
  for (const subject of SUBJECTS) {
    assert.ok(begun.filter((one) => one === subject).length <= SHARE);
  }
});

test('a hub that must refuse looks first whether another one ended some', async (t) => {
  const { hubs, clock } = await twoHubs(t);
  const owner = { repository: 'team/app', subject: 'ann' };
  const targets = [];
  for (let n = 0; n < SHARE; n += 1) targets.push(await hubs[0].create(owner));
  await assert.rejects(hubs[0].create(owner), { code: 'TOOMANYREQUESTS' });
  for (const target of targets) {
    await hubs[1].exclusively(target, async (upload) => void (upload.outcome = 'drop'));
  }
  clock.ms += UPLOADS_COUNT_MS;
  await hubs[0].create(owner);
});

test('an upload that begins while the hub tidies up finds each of the others once', async (t) => {
  const { hubs, clock, store } = await twoHubs(t);
  for (const subject of SUBJECTS) await hubs[0].create({ repository: 'team/app', subject });
  clock.ms += UPLOADS_COUNT_MS;
  const counts = store.counts.bind(store);
  const begun = Promise.withResolvers<void>();
  const tidied = Promise.withResolvers<void>();
  t.mock.method(store, 'counts', async () => {
    const counted = await counts();
    begun.resolve();
    await tidied.promise;
    return counted;
  });
  const swept = hubs[1].sweep();
  await begun.promise;
  const created = hubs[1].create({ repository: 'team/app', subject: 'ann' });
  await new Promise(setImmediate);
  tidied.resolve();
  await Promise.all([swept, created]);
  assert.equal(hubs[1].count, SUBJECTS.length + 1);
});

test('what a client left behind makes room for others of its account', async (t) => {
  const { hubs, clock } = await twoHubs(t);
  const owner = { repository: 'team/app', subject: 'ann' };
  const targets: UploadTarget[] = [];
  for (let n = 0; n < SHARE; n += 1) targets.push(await hubs[0].create(owner));
  const [left, kept, busy] = targets;
  assert.ok(left && kept && busy);
  const bobs = await hubs[0].create({ ...owner, subject: 'bob' });
  clock.ms += UPLOAD_YIELD_MS;
  await assert.rejects(hubs[0].create(owner), { code: 'TOOMANYREQUESTS' }, 'not yet');
  clock.ms += 1;
  await hubs[0].exclusively(kept, async (upload) => void (upload.outcome = 'keep'));
  const begun = await hubs[0].exclusively(busy, async () => hubs[0].create(owner));
  await assert.rejects(hubs[0].size(left), { code: 'BLOB_UPLOAD_UNKNOWN' });
  for (const target of [kept, busy, begun, bobs]) assert.equal(await hubs[0].size(target), 0);
});

test('when all places are taken, the longest unused one of anybody is given up', async (t) => {
  const { hubs, clock } = await twoHubs(t);
  const targets: UploadTarget[] = [];
  for (let n = 0; n < MAX; n += 1) {
    const subject = SUBJECTS[n % SUBJECTS.length] ?? '';
    targets.push(await hubs[0].create({ repository: 'team/app', subject }));
    clock.ms += 1;
  }
  clock.ms += UPLOAD_YIELD_MS - MAX + 1;
  await hubs[0].create({ repository: 'team/app', subject: 'eve' });
  const [first, second] = targets;
  assert.ok(first && second);
  await assert.rejects(hubs[0].size(first), { code: 'BLOB_UPLOAD_UNKNOWN' });
  assert.equal(await hubs[0].size(second), 0);
});
