import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { ADMIN, TestHub } from '../registry/test-hub.ts';
import { Pusher } from '../replication/rig.ts';
import { exportTo, importTo, scratch } from './bundle-rig.ts';

const BASE = randomBytes(300_000);
const LAYERS = [1, 2, 3].map((n) => Buffer.concat([Buffer.from([n]), randomBytes(10_000)]));

/** Three bundles, each with one layer more and without those of the ones before. */
async function chain(t: TestContext, hub: TestHub) {
  const folder = await scratch(t);
  const places = [1, 2, 3].map((n) => path.join(folder, `bundle-${n}`));
  const reports = [];
  for (const [i, place] of places.entries()) {
    await hub.pushImage(`v${i + 1}`, [BASE, ...LAYERS.slice(0, i + 1)]);
    const since = places[i - 1];
    const more = since === undefined ? {} : { since };
    reports.push(await exportTo(hub, place, [`team/app:v${i + 1}`], more));
  }
  const [first = '', second = '', third = ''] = places;
  return { folder, first, second, third, reports };
}

test('bundles that build on earlier ones carry what is new, and name what they need', async (t) => {
  await using from = await TestHub.start();
  await using to = await TestHub.start();
  const { first, second, third, reports } = await chain(t, from);
  assert.ok((reports[0]?.bytes ?? 0) > BASE.length);
  assert.ok((reports[2]?.bytes ?? 0) < 20_000);
  const [one, two] = reports.map(({ list }) => list.id);
  await assert.rejects(importTo(to, third, from), {
    message: new RegExp(`import before it.*bundle ${one} of .*bundle ${two} of `),
    data: { code: 'BASE_MISSING', bundles: [one, two] },
  });
  const { body } = await to.ask('/v2/_catalog');
  assert.deepEqual(JSON.parse(body.toString()), { repositories: [] });
  await importTo(to, first, from);
  await assert.rejects(importTo(to, third, from), {
    data: { code: 'BASE_MISSING', bundles: [two] },
  });
  await importTo(to, second, from);
  await importTo(to, third, from);
  for (const layer of [BASE, ...LAYERS]) {
    const pulled = await to.ask(`/v2/team/app/blobs/${digestOf(layer)}`);
    assert.ok(pulled.body.equals(layer));
  }
  assert.equal((await to.ask('/v2/team/app/manifests/v3')).status, 200);
  const elsewhere = importTo(to, third, from, { to: 'edge' });
  await assert.rejects(elsewhere, /with the same --to/);
});

test('list and signature of the earlier bundle are enough to build on it', async (t) => {
  await using hub = await TestHub.start();
  const { folder, first } = await chain(t, hub);
  const head = path.join(folder, 'head');
  await mkdir(head);
  for (const name of ['bundle.json', 'bundle.sig']) {
    await cp(path.join(first, name), path.join(head, name));
  }
  await hub.pushImage('v4', [BASE, Buffer.from('the fourth')]);
  const { bytes } = await exportTo(hub, path.join(folder, '4.tar'), ['team/app:v4'], {
    since: head,
  });
  assert.ok(bytes < 20_000);
});

test('a list of another hub, or one that was changed, is nothing to build on', async (t) => {
  await using hub = await TestHub.start();
  await using other = await TestHub.start();
  const { folder, first } = await chain(t, hub);
  await other.pushImage('v1', [BASE]);
  const file = path.join(folder, 'other.tar');
  const wish = exportTo(other, file, ['team/app:v1'], { since: first });
  await assert.rejects(wish, { code: 'BUNDLE_UNTRUSTED' });
  await rm(path.join(first, 'bundle.sig'));
  const unsigned = exportTo(hub, file, ['team/app:v1'], { since: first });
  await assert.rejects(unsigned, { code: 'BUNDLE_DAMAGED' });
});

test('what an earlier bundle has goes into other repositories as well', async (t) => {
  await using from = await TestHub.start();
  await using to = await TestHub.start();
  const { folder, first } = await chain(t, from);
  await from.pushImage('v1', [BASE], {}, 'other/tool');
  const file = path.join(folder, 'tool.tar');
  const { bytes } = await exportTo(from, file, ['other/tool:v1'], { since: first });
  assert.ok(bytes < 20_000);
  await importTo(to, first, from);
  await importTo(to, file, from);
  const pulled = await to.ask(`/v2/other/tool/blobs/${digestOf(BASE)}`);
  assert.ok(pulled.body.equals(BASE));
});

test('what an earlier bundle brought counts wherever it is by now', async (t) => {
  const folder = await scratch(t);
  await using from = await TestHub.start();
  await using to = await TestHub.start();
  await using there = new Pusher(from.url, ADMIN);
  await using here = new Pusher(to.url, ADMIN);
  const base = path.join(folder, 'base.tar');
  const { digest } = await there.image('a/app', 'v1', [BASE]);
  await exportTo(from, base, ['a/app:v1']);
  await importTo(to, base, from);
  await here.image('c/app', 'old', [BASE, LAYERS[0] ?? BASE]);
  for (const what of [`manifests/${digest}`, `blobs/${digestOf(BASE)}`]) {
    const gone = await to.ask(`/v2/a/app/${what}`, { method: 'DELETE' });
    assert.equal(gone.status, 202, gone.body.toString());
  }
  for (const name of ['b/app', 'c/app']) await there.image(name, 'v1', [BASE]);
  const next = path.join(folder, 'next.tar');
  await exportTo(from, next, ['b/app:v1', 'c/app:v1'], { since: base });
  await importTo(to, next, from);
  assert.equal(await here.tagged('b/app', 'v1'), digest);
});
