import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { KEY_RING_FILE, loadKeyRing, saveKeyRing } from './key-files.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'flotilla-keys-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return join(path, 'keys');
}

test('the first start makes keys for their owner only, later starts read them', async (t) => {
  const dir = await folder(t);
  const first = await loadKeyRing(dir, 1000);
  assert.equal((await stat(join(dir, KEY_RING_FILE))).mode & 0o777, 0o600);
  assert.equal((await stat(dir)).mode & 0o777, 0o700);
  const second = await loadKeyRing(dir, 2000);
  assert.equal(second.fingerprint(), first.fingerprint());
  assert.deepEqual(second.bundle(), first.bundle());
  assert.deepEqual(await readdir(dir), [KEY_RING_FILE]);
});

test('processes that start at the same moment share one ring', async (t) => {
  const dir = await folder(t);
  const rings = await Promise.all(Array.from({ length: 8 }, () => loadKeyRing(dir, 1000)));
  assert.equal(new Set(rings.map((ring) => ring.fingerprint())).size, 1);
  assert.deepEqual(await readdir(dir), [KEY_RING_FILE]);
});

test('a file that others could read is closed to them', async (t) => {
  const dir = await folder(t);
  await loadKeyRing(dir, 1000);
  await chmod(join(dir, KEY_RING_FILE), 0o644);
  await loadKeyRing(dir, 1000);
  assert.equal((await stat(join(dir, KEY_RING_FILE))).mode & 0o777, 0o600);
});

test('a damaged ring stops the start and is left as it is', async (t) => {
  const dir = await folder(t);
  await loadKeyRing(dir, 1000);
  const path = join(dir, KEY_RING_FILE);
  const damaged = (await readFile(path, 'utf8')).slice(0, 500);
  await writeFile(path, damaged);
  await assert.rejects(loadKeyRing(dir, 1000), { code: 'MALFORMED' });
  assert.equal(await readFile(path, 'utf8'), damaged);
});

test('a changed ring takes the place of the old one', async (t) => {
  const dir = await folder(t);
  const ring = await loadKeyRing(dir, 1000);
  ring.retire('grant', 2000);
  await saveKeyRing(dir, ring);
  assert.deepEqual((await loadKeyRing(dir, 3000)).bundle(), ring.bundle());
  assert.deepEqual(await readdir(dir), [KEY_RING_FILE]);
});

test('a ring of a version without tag statements gets a key for them, and keeps it', async (t) => {
  const dir = await folder(t);
  const first = await loadKeyRing(dir, 1000);
  const path = join(dir, KEY_RING_FILE);
  const text = await readFile(path, 'utf8');
  const earlier = text.replace(/# tag active\n-----BEGIN[^#]*/, '');
  assert.notEqual(earlier, text);
  await writeFile(path, earlier);
  const upgraded = await loadKeyRing(dir, 2000);
  assert.equal(upgraded.fingerprint(), first.fingerprint());
  assert.deepEqual(upgraded.signingKey('grant').keyId, first.signingKey('grant').keyId);
  assert.equal(upgraded.serial, first.serial + 1, 'agents take the bundle as a newer one');
  assert.deepEqual((await loadKeyRing(dir, 3000)).bundle(), upgraded.bundle());
});
