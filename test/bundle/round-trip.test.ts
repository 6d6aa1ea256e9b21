import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { TestHub } from '../registry/test-hub.ts';
import { exportTo, importTo, scratch } from './bundle-rig.ts';

const MIB = 1024 * 1024;

function platformOf(architecture: string): object {
  return { os: 'linux', architecture };
}

function child({ digest, bytes }: { digest: Digest; bytes: Buffer }, more: object): object {
  return { mediaType: OCI_MANIFEST, digest, size: bytes.length, ...more };
}

function subjectOf(bytes: Buffer, mediaType: string): object {
  return {
    subject: { mediaType, digest: digestOf(bytes), size: bytes.length },
    artifactType: 'application/vnd.test.signature',
  };
}

/** An index of two platforms with an attestation, a signature of it, and one of the signature. */
async function pushSigned(hub: TestHub, repository: string) {
  const layers = { amd64: randomBytes(5 * MIB + 3), arm64: randomBytes(1000) };
  const push = (tag: string, layer: Buffer, more = {}) =>
    hub.pushImage(tag, [layer], more, repository);
  const amd64 = await push('amd64', layers.amd64);
  const arm64 = await push('arm64', layers.arm64);
  const attestation = await push('attestation', Buffer.from('how amd64 was built'));
  const annotations = { 'vnd.docker.reference.digest': amd64.digest };
  const manifests = [
    child(amd64, { platform: platformOf('amd64') }),
    child(arm64, { platform: platformOf('arm64') }),
    child(attestation, { platform: { os: 'unknown', architecture: 'unknown' }, annotations }),
  ];
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  assert.equal((await hub.putManifest('v1', index, OCI_INDEX, repository)).status, 201);
  const signature = await push('sig', Buffer.from('signed'), subjectOf(index, OCI_INDEX));
  const more = subjectOf(signature.bytes, OCI_MANIFEST);
  const counter = await push('counter', Buffer.from('countersigned'), more);
  const classic = await push(
    `${digestOf(index).replace(':', '-')}.sig`,
    Buffer.from('signed under a tag'),
  );
  return { index, layers, amd64, arm64, attestation, signature, counter, classic };
}

async function manifest(hub: TestHub, name: string): Promise<{ status: number; body: Buffer }> {
  const accept = `${OCI_INDEX}, ${OCI_MANIFEST}`;
  return hub.ask(`/v2/${name}`, { headers: { accept } });
}

async function referrers(hub: TestHub, name: string): Promise<string[]> {
  const { body } = await hub.ask(`/v2/${name}`);
  const { manifests }: { manifests: { digest: string }[] } = JSON.parse(body.toString());
  return manifests.map(({ digest }) => digest);
}

for (const kind of ['archive', 'folder']) {
  test(`a signed image with all platforms gets to another hub in one ${kind}`, async (t) => {
    const folder = await scratch(t);
    const file = path.join(folder, kind === 'archive' ? 'bundle.tar' : 'bundle');
    await using from = await TestHub.start();
    await using to = await TestHub.start();
    const pushed = await pushSigned(from, 'team/app');
    const report = await exportTo(from, file, ['team/app:v1']);
    assert.equal((await stat(file)).mode & 0o077, 0);
    assert.equal(report.copiedBytes, report.bytes);
    const done = await importTo(to, file, from, { to: 'edge' });
    assert.deepEqual(
      [done.images.toSorted()[0], done.images.length],
      [`edge/team/app:${digestOf(pushed.index).replace(':', '-')}.sig`, 2],
    );
    const base = 'edge/team/app';
    assert.ok((await manifest(to, `${base}/manifests/v1`)).body.equals(pushed.index));
    for (const one of [pushed.amd64, pushed.arm64, pushed.attestation, pushed.counter]) {
      assert.ok((await manifest(to, `${base}/manifests/${one.digest}`)).body.equals(one.bytes));
    }
    for (const layer of Object.values(pushed.layers)) {
      const blob = await to.ask(`/v2/${base}/blobs/${digestOf(layer)}`);
      assert.ok(blob.body.equals(layer));
    }
    const subject = digestOf(pushed.index);
    const [signature] = await referrers(to, `${base}/referrers/${subject}`);
    assert.equal(signature, pushed.signature.digest);
    const [counter] = await referrers(to, `${base}/referrers/${signature}`);
    assert.equal(counter, pushed.counter.digest);
    // The hub that imports states chunks itself.
    const large = digestOf(pushed.layers.amd64);
    const statement = await to.ask(`/v2/${base}/_flotilla/chunks/statement/${large}`);
    assert.equal(statement.status, 200);
    // Not asked for: tags beside.
    assert.equal((await manifest(to, `${base}/manifests/amd64`)).status, 404);
    const again = await importTo(to, file, from, { to: 'edge' });
    assert.deepEqual([again.sent, again.sentBytes], [0, 0]);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name !== path.basename(file)),
      [],
    );
  });
}

test('only chosen platforms travel, with what is about them; the index stays', async (t) => {
  const file = path.join(await scratch(t), 'bundle.tar');
  await using from = await TestHub.start();
  const pushed = await pushSigned(from, 'team/app');
  const { list } = await exportTo(from, file, ['team/app:v1'], { platforms: ['linux/amd64'] });
  const digests = new Set<string>(list.manifests.map(({ digest }) => digest));
  assert.ok(digests.has(pushed.amd64.digest) && digests.has(pushed.attestation.digest));
  assert.ok(!digests.has(pushed.arm64.digest));
  await using strict = await TestHub.start();
  await assert.rejects(importTo(strict, file, from), /set registry.sparseIndexes/);
  assert.equal((await manifest(strict, 'team/app/manifests/v1')).status, 404);
  await using to = await TestHub.start({ registry: { sparseIndexes: true } });
  await importTo(to, file, from);
  assert.ok((await manifest(to, 'team/app/manifests/v1')).body.equals(pushed.index));
});

test('a blob of several repositories is carried and sent once', async (t) => {
  const file = path.join(await scratch(t), 'bundle.tar');
  await using from = await TestHub.start();
  await using to = await TestHub.start();
  const layer = randomBytes(100_000);
  await from.pushImage('v1', [layer], {}, 'team/one');
  await from.pushImage('v1', [layer], {}, 'other/two');
  const report = await exportTo(from, file, ['team/one:v1', 'other/two:v1']);
  assert.ok(report.bytes < 1.1 * layer.length);
  const { sentBytes } = await importTo(to, file, from);
  assert.ok(sentBytes < 1.1 * layer.length);
  const blob = await to.ask(`/v2/other/two/blobs/${digestOf(layer)}`);
  assert.ok(blob.body.equals(layer));
});

test('names that are no images of the hub are told', async (t) => {
  const file = path.join(await scratch(t), 'bundle.tar');
  await using hub = await TestHub.start();
  for (const image of ['team/app', 'team/app:', 'team/../app:v1', ':v1']) {
    await assert.rejects(exportTo(hub, file, [image]), { code: 'IMAGE_INVALID' });
  }
  await assert.rejects(exportTo(hub, file, ['team/app:v1']), { code: 'IMAGE_MISSING' });
});
