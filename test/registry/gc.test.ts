import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { KyselyGcStore } from '../../hub/catalog/gc-store.ts';
import { openSqliteCatalog } from '../../hub/catalog/sqlite-catalog.ts';
import { GC_LEASE_MS } from '../../hub/gc/constants.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { EXIT } from '../../proto/ops/exit-codes.ts';
import { commandAt, type Outcome } from '../rig/command-line.ts';
import { ADMIN, TestHub } from './test-hub.ts';

const DAY_MS = 86_400_000;

async function start(t: TestContext): Promise<TestHub> {
  const hub = await TestHub.start({ gc: { grace: '10m', quarantine: '1h' } });
  t.after(() => hub[Symbol.asyncDispose]());
  return hub;
}

function flotilla({ url }: TestHub, ...words: string[]): Promise<Outcome> {
  return commandAt({ url, password: ADMIN.password }, words);
}

/** The catalog of a hub that runs, as another program sees it. */
async function catalogOf(t: TestContext, hub: TestHub) {
  const catalog = await openSqliteCatalog({ path: `${hub.folder}/catalog.sqlite` });
  t.after(() => catalog.close());
  return catalog;
}

/** As if nobody had named any blob for a day. */
async function aDayLater(t: TestContext, hub: TestHub): Promise<void> {
  const { db } = await catalogOf(t, hub);
  const sinceMs = Date.now() - DAY_MS;
  await db
    .updateTable('repository_blob')
    .set({ unused_since_ms: sinceMs })
    .where('unused_since_ms', 'is not', null)
    .execute();
}

test('a collection by hand: told before, run, listed, and taken back', async (t) => {
  const hub = await start(t);
  const layer = randomBytes(5000);
  const digest = await hub.push(layer);
  await hub.pushImage('v1', [randomBytes(100)]);
  const head = async () =>
    (await hub.ask(`/v2/team/app/blobs/${digest}`, { method: 'HEAD' })).status;
  assert.match((await flotilla(hub, 'gc', 'run', '--dry-run')).out, /^0 would go/);
  await aDayLater(t, hub);
  const told = await flotilla(hub, 'gc', 'run', '--dry-run');
  assert.match(
    told.out,
    new RegExp(`^repository-blob\tteam/app\t${digest}\t5000\t.*\n1 would go; 0B removed`),
  );
  const done = await flotilla(hub, 'gc', 'run', '--wait');
  assert.deepEqual([done.code, done.err], [EXIT.ok, '']);
  assert.match(done.out, /: ok\n[^]*into quarantine: 1 blobs/);
  assert.equal(await head(), 404);
  assert.match((await flotilla(hub, 'gc', 'status')).out, /^no collection goes on\n.*: ok\n/);
  const listed = await flotilla(hub, 'gc', 'list');
  assert.match(listed.out, new RegExp(`^${digest}\t5000\t`));
  assert.equal((await flotilla(hub, 'gc', 'restore', digest)).out, 'team/app\n');
  assert.equal(await head(), 200);
  const again = await flotilla(hub, 'gc', 'restore', digest);
  assert.deepEqual([again.code, again.out], [EXIT.failure, '']);
  assert.match(again.err, /not in quarantine/);
  assert.equal((await flotilla(hub, 'gc', 'list')).out, 'nothing is in quarantine\n');
  assert.equal((await flotilla(hub, 'gc', 'list', '--json')).out, '');
});

test('while a hub collects another collection is refused', async (t) => {
  const hub = await start(t);
  const store = new KyselyGcStore(await catalogOf(t, hub));
  const nowMs = Date.now();
  const other = { holder: 'other', nowMs, untilMs: nowMs + GC_LEASE_MS, dueMs: nowMs };
  await store.take(other);
  const refused = await hub.api('POST', '/gc/runs');
  assert.equal(refused.status, 409, refused.body.toString());
  assert.equal((await hub.api('GET', '/gc')).json['running'], true);
  const { code, err } = await flotilla(hub, 'gc', 'run');
  assert.equal(code, EXIT.failure);
  assert.match(err, /goes on already/);
  await store.release('other');
  const answers = await Promise.all([1, 2, 3].map(() => hub.api('POST', '/gc/runs')));
  assert.equal(answers.filter(({ status }) => status === 202).length, 1);
  assert.equal(answers.filter(({ status }) => status === 409).length, 2);
  const { id } = answers.find(({ status }) => status === 202)?.json ?? {};
  assert.equal((await hub.api('GET', `/gc/runs/${String(id)}`)).status, 200);
});

test('lists of the collection are read in pages, and no other place begins one', async (t) => {
  const hub = await start(t);
  const layers = await Promise.all([1, 2, 3].map(() => hub.push(randomBytes(100))));
  await aDayLater(t, hub);
  const found: string[] = [];
  for (let query = '?n=1'; query !== '';) {
    const { json, status } = await hub.api('GET', `/gc/garbage${query}`);
    assert.equal(status, 200);
    const page: { garbage: { digest: string }[]; next?: string } = JSON.parse(JSON.stringify(json));
    assert.ok(page.garbage.length <= 1);
    found.push(...page.garbage.map(({ digest }) => digest));
    query = page.next === undefined ? '' : `?n=1&last=${page.next}`;
  }
  assert.deepEqual(found.sort(), layers.sort());
  for (const wrong of ['?last=x', '?n=0', '?last=WzFd', '?last=..%2F']) {
    assert.equal((await hub.api('GET', `/gc/garbage${wrong}`)).status, 400, wrong);
    assert.equal((await hub.api('GET', `/gc/quarantine${wrong}`)).status, 400, wrong);
  }
  const unknown = digestOf(Buffer.from('unknown'));
  assert.equal((await hub.api('POST', `/gc/quarantine/${unknown}/restore`)).status, 404);
  assert.equal((await hub.api('POST', '/gc/quarantine/sha256:x/restore')).status, 400);
  assert.equal((await hub.api('GET', '/gc/runs/none')).status, 404);
});

test('a command that is none is told so', async (t) => {
  const hub = await start(t);
  for (const words of [
    [],
    ['stop'],
    ['list', '--wait'],
    ['run', 'x'],
    ['restore'],
    ['restore', 'x'],
  ]) {
    const { code, err } = await flotilla(hub, 'gc', ...words);
    assert.equal(code, EXIT.usage, words.join(' '));
    assert.match(err, /usage: flotilla gc run/);
  }
});
