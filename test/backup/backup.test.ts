import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { digestHex, digestOf } from '../../proto/oci/digest.ts';
import { TestHub } from '../registry/test-hub.ts';
import { backup, check, restore, scratch, verify } from './backup-rig.ts';

const MIB = 1024 * 1024;

test('what was pushed comes back out of a backup, and the check finds nothing', async (t) => {
  const folder = await scratch(t);
  const [to, dataDir] = ['backup', 'restored'].map((name) => path.join(folder, name));
  assert.ok(to && dataDir);
  const layers = [randomBytes(5 * MIB + 3), Buffer.from('small'), Buffer.alloc(0)];
  await using hub = await TestHub.start();
  const image = await hub.pushImage('v1', layers);
  const subject = { digest: image.digest, size: image.bytes.length, mediaType: 'a/b' };
  await hub.pushImage('signed', [Buffer.from('a signature')], { subject }, 'team/app');
  const long = digestOf(layers[0] ?? Buffer.alloc(0), 'sha512');
  const keyRing = await readFile(path.join(hub.folder, 'keys', 'key-ring.pem'), 'utf8');
  const { manifest, copied } = await backup(hub, to, { keyRing });
  assert.equal(copied, manifest.blobs?.count);
  const report = await verify(to);
  assert.deepEqual([report.problems, report.hashed], [[], copied]);
  await restore(to, dataDir, { policy: 'kept' });
  const { counts, hashed } = await check(dataDir);
  assert.deepEqual([counts, hashed], [{}, copied]);
  await using again = await TestHub.start({}, { folder: dataDir });
  assert.ok((await again.ask('/v2/team/app/manifests/v1')).body.equals(image.bytes));
  for (const layer of layers) {
    const pulled = await again.ask(`/v2/team/app/blobs/${digestOf(layer)}`);
    assert.ok(pulled.body.equals(layer));
  }
  assert.equal((await again.ask(`/v2/team/app/blobs/${long}`)).status, 404);
  const { body } = await again.ask(`/v2/team/app/referrers/${image.digest}`);
  assert.equal(JSON.parse(body.toString()).manifests.length, 1);
});

test('a backup is for its owner alone, and people can read it', async (t) => {
  const folder = await scratch(t);
  const to = path.join(folder, 'backup');
  await using hub = await TestHub.start();
  const bytes = Buffer.from('a layer');
  await hub.pushImage('v1', [bytes]);
  await backup(hub, to);
  for (const name of await readdir(to, { recursive: true })) {
    const { mode } = await stat(path.join(to, name));
    assert.equal(mode & 0o077, 0, `${name} is for others too`);
  }
  assert.equal((await stat(to)).mode & 0o077, 0);
  const blob = path.join(to, 'blobs', 'sha256', digestHex(digestOf(bytes)));
  assert.deepEqual(await readFile(blob), bytes);
  const { catalog } = JSON.parse(await readFile(path.join(to, 'backup.json'), 'utf8'));
  const lines = (await readFile(path.join(to, catalog.file), 'utf8')).trimEnd().split('\n');
  const parsed: unknown[] = lines.map((line) => JSON.parse(line));
  assert.ok(parsed.length > 10);
  assert.deepEqual(await readdir(to), ['backup.json', 'blobs', catalog.file]);
});
