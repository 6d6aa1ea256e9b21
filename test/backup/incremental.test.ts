import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { FilesystemBlobStore } from '../../hub/blobs/filesystem.ts';
import { KyselyGcStore } from '../../hub/catalog/gc-store.ts';
import { openSqliteCatalog } from '../../hub/catalog/sqlite-catalog.ts';
import { Collector } from '../../hub/gc/collector.ts';
import { createGcMetrics } from '../../hub/gc/metrics.ts';
import { digestHex, digestOf, type Digest } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { freePort } from '../rig/free-port.ts';
import { TestHub } from '../registry/test-hub.ts';
import { backup, check, clientOf, never, restore, scratch, verify } from './backup-rig.ts';

function blobIn(folder: string, digest: Digest): string {
  return path.join(folder, 'blobs', 'sha256', digestHex(digest));
}

test('only what is new is copied, and what is gone goes', async (t) => {
  const folder = await scratch(t);
  const to = path.join(folder, 'backup');
  const [stays, goes, comes] = ['stays', 'goes', 'comes'].map((text) => Buffer.from(text));
  assert.ok(stays && goes && comes);
  await using hub = await TestHub.start();
  await hub.pushImage('v1', [stays, goes]);
  await backup(hub, to);
  await utimes(blobIn(to, digestOf(stays)), 1, 1);
  await assert.rejects(backup(hub, to), { code: 'TARGET_NOT_EMPTY' });
  await hub.pushImage('v2', [stays, comes]);
  await hub.ask('/v2/team/app/manifests/v1', { method: 'DELETE' });
  await hub.ask(`/v2/team/app/blobs/${digestOf(goes)}`, { method: 'DELETE' });
  const { copied, copiedBytes, manifest } = await backup(hub, to, { incremental: true });
  assert.deepEqual([copied, copiedBytes, manifest.blobs?.count], [1, comes.length, 3]);
  assert.equal((await stat(blobIn(to, digestOf(stays)))).mtimeMs, 1000);
  await assert.rejects(stat(blobIn(to, digestOf(goes))), { code: 'ENOENT' });
  const kept = ['backup.json', 'blobs', manifest.catalog.file];
  assert.deepEqual((await readdir(to)).toSorted(), kept);
  assert.deepEqual((await verify(to)).problems, []);
});

test('a folder with something else in it is left alone', async (t) => {
  const folder = await scratch(t);
  await writeFile(path.join(folder, 'notes.txt'), 'mine');
  await using hub = await TestHub.start();
  await assert.rejects(backup(hub, folder), { code: 'TARGET_NOT_EMPTY' });
  await assert.rejects(backup(hub, folder, { incremental: true }), { code: 'TARGET_NOT_EMPTY' });
  assert.deepEqual(await readdir(folder), ['notes.txt']);
});

test('a backup that fails leaves no folder, or one to go on with, and says so', async (t) => {
  const folder = await scratch(t);
  const to = path.join(folder, 'backup');
  await using hub = await TestHub.start();
  await hub.pushImage('v1', [Buffer.from('one'), Buffer.from('two')]);
  const told: string[] = [];
  const client = clientOf(hub);
  const refused = clientOf({ url: 'http://127.0.0.1:1' });
  await assert.rejects(backup(hub, to, { client: refused }), { code: 'HUB_UNREACHABLE' });
  const blob = client.blob.bind(client);
  let copies = 0;
  client.blob = async (...ask) => {
    if (copies === 0) throw new Error('broken off');
    copies -= 1;
    return blob(...ask);
  };
  const tell = (text: string): void => void told.push(text);
  await assert.rejects(backup(hub, to, { client, tell }), /broken off/);
  assert.deepEqual(await readdir(folder), []);
  assert.doesNotMatch(told.join('\n'), /goes on/);
  copies = 1;
  await assert.rejects(backup(hub, to, { client, tell }), /broken off/);
  assert.match(told.at(-1) ?? '', /backup has no whole backup yet; the same command goes on/);
  assert.deepEqual((await readdir(to)).toSorted(), ['blobs', 'unfinished']);
  assert.equal((await backup(hub, to)).copied, 2);
  await hub.pushImage('v2', [Buffer.from('three')]);
  const update = backup(hub, to, { client, tell, incremental: true });
  await assert.rejects(update, /broken off/);
  assert.match(told.at(-1) ?? '', /still has the backup of before, whole/);
  assert.equal((await readdir(to)).length, 4, 'nothing else is left of the new one');
});

test('what is taken down while a backup is made is not in it', async (t) => {
  const folder = await scratch(t);
  const [to, dataDir] = [path.join(folder, 'backup'), path.join(folder, 'data')];
  const bad = Buffer.from('a leaked secret');
  await using hub = await TestHub.start();
  const { digest } = await hub.pushImage('leaked', [bad]);
  const client = clientOf(hub);
  const catalog = client.catalog.bind(client);
  client.catalog = async (...ask) => {
    const parts: Buffer[] = [];
    for await (const part of await catalog(...ask)) parts.push(part);
    for (const one of [digest, digestOf(bad)]) await hub.api('POST', '/purges', { digest: one });
    return (async function* () {
      yield* parts;
    })();
  };
  const { manifest } = await backup(hub, to, { client });
  assert.deepEqual(manifest.withdrawn, [digest, digestOf(bad)].toSorted());
  assert.deepEqual((await verify(to)).problems, []);
  await assert.rejects(stat(blobIn(to, digestOf(bad))), { code: 'ENOENT' });
  const ring = path.join(hub.folder, 'keys', 'key-ring.pem');
  const keyRing = await readFile(ring, 'utf8');
  await restore(to, dataDir, { policy: 'kept', keyRing });
  assert.deepEqual((await check(dataDir)).counts, {});
  await using again = await TestHub.start({}, { folder: dataDir });
  await assert.rejects(again.push(bad));
});

test('nothing is removed from a hub while a backup of it is made', async (t) => {
  const to = path.join(await scratch(t), 'backup');
  const layer = randomBytes(3_000_000);
  await using hub = await TestHub.start();
  await hub.pushImage('v1', [layer]);
  const client = clientOf(hub);
  const catalog = client.catalog.bind(client);
  client.catalog = async (...ask) => {
    const lines = await catalog(...ask);
    return (async function* () {
      yield* lines;
      await hub.ask('/v2/team/app/manifests/v1', { method: 'DELETE' });
      await hub.ask(`/v2/team/app/blobs/${digestOf(layer)}`, { method: 'DELETE' });
      assert.equal((await collect(hub)).deleted, 0);
    })();
  };
  const { manifest } = await backup(hub, to, { client });
  assert.deepEqual(manifest.blobs?.missing, []);
  assert.deepEqual((await verify(to)).problems, []);
  assert.equal((await collect(hub)).deleted, 1, 'and afterwards it is');
});

/** Collects as another hub on the same data would, without any delay. */
async function collect({ folder }: TestHub): Promise<{ deleted: number }> {
  const catalog = await openSqliteCatalog({ path: path.join(folder, 'catalog.sqlite') });
  const blobs = await FilesystemBlobStore.open({ root: path.join(folder, 'registry') });
  try {
    const metrics = createGcMetrics(new MetricsRegistry({ prefix: 'flotilla_hub_' }));
    const logger = createLogger({ level: 'silent', name: 'test' });
    const collector = new Collector(
      { graceMs: 3_600_000, quarantineMs: 0 },
      { store: new KyselyGcStore(catalog), blobs, metrics, logger },
    );
    const report = await collector.collect({}, { signal: never });
    assert.ok(report);
    return report;
  } finally {
    await blobs.close();
    await catalog.close();
  }
}

test('a backup goes on when the hub is started again meanwhile', async (t) => {
  const folder = await scratch(t);
  const port = await freePort();
  const sections = { http: { listen: [`127.0.0.1:${port}`] } };
  const data = path.join(folder, 'data');
  const layers = Array.from({ length: 9 }, () => randomBytes(400_000));
  const first = await TestHub.start(sections, { folder: data, keep: true });
  const { url } = first;
  await first.pushImage('v1', layers);
  const client = clientOf(first);
  const blob = client.blob.bind(client);
  let asked = 0;
  let second: Promise<TestHub> | undefined;
  t.after(async () => (await second)?.[Symbol.asyncDispose]());
  client.blob = async (...ask) => {
    asked += 1;
    if (asked === 3) {
      second = first.hub.close().then(() => TestHub.start(sections, { folder: data }));
    }
    return blob(...ask);
  };
  const { manifest } = await backup({ url }, path.join(folder, 'backup'), { client });
  assert.equal(manifest.blobs?.count, 10);
  assert.notEqual(second, undefined);
  assert.deepEqual((await verify(path.join(folder, 'backup'))).problems, []);
});

test('a blob that the hub has lost is named, and the rest is backed up', async (t) => {
  const folder = await scratch(t);
  const to = path.join(folder, 'backup');
  const [lost, there] = [Buffer.from('lost'), Buffer.from('there')];
  await using hub = await TestHub.start();
  await hub.pushImage('v1', [lost, there]);
  const hex = digestHex(digestOf(lost));
  const file = path.join(hub.folder, 'registry', 'blobs', 'sha256', hex.slice(0, 2), hex);
  await writeFile(file, 'LOST');
  const { manifest } = await backup(hub, to);
  assert.deepEqual(manifest.blobs?.missing, [digestOf(lost)]);
  const { problems } = await verify(to);
  assert.match(problems.join(), /had lost it when the backup was made/);
  const ring = path.join(hub.folder, 'keys', 'key-ring.pem');
  const dataDir = path.join(folder, 'data');
  await restore(to, dataDir, { policy: 'kept', keyRing: await readFile(ring, 'utf8') });
  assert.deepEqual((await check(dataDir)).counts, { missing: 1 });
});

test('only the admin gets a backup', async () => {
  await using hub = await TestHub.start();
  await hub.api('POST', '/accounts', { name: 'ada', password: 'password of ada' });
  const ada = `Basic ${Buffer.from('ada:password of ada').toString('base64')}`;
  const digest = await hub.push(Buffer.from('bytes'));
  const { json } = await hub.api('POST', '/backups');
  const at = `/backups/${String(json['id'])}`;
  for (const [method, target] of [
    ['POST', '/backups'],
    ['PUT', at],
    ['DELETE', at],
    ['GET', `${at}/catalog`],
    ['GET', `${at}/blobs/${digest}`],
  ] as const) {
    assert.equal((await hub.api(method, target, undefined, ada)).status, 403, target);
    const stranger = await hub.ask(`/api/v1${target}`, { method, authorization: undefined });
    assert.equal(stranger.status, 401, target);
  }
  const { body } = await hub.ask(`/api/v1${at}/catalog`);
  assert.ok(!body.toString().includes('password of ada'));
  assert.ok(!body.toString().includes('PRIVATE'));
  const headers = { range: 'bytes=2-' };
  const part = await hub.ask(`/api/v1${at}/blobs/${digest}`, { headers });
  assert.deepEqual([part.status, part.body.toString()], [206, 'tes']);
  assert.equal((await hub.api('DELETE', at)).status, 204);
  assert.equal((await hub.ask(`/api/v1${at}/catalog`)).status, 404);
});

test('a backup of another hub is not brought up to date', async (t) => {
  const to = path.join(await scratch(t), 'backup');
  await using hub = await TestHub.start();
  await using other = await TestHub.start();
  await hub.pushImage('v1', [Buffer.from('a layer')]);
  await backup(hub, to);
  const wrong = backup(other, to, { incremental: true });
  await assert.rejects(wrong, { code: 'FLEET_OTHER', message: /name another folder/ });
  assert.deepEqual((await verify(to)).problems, []);
  assert.equal((await backup(hub, to, { incremental: true })).copied, 0);
});
