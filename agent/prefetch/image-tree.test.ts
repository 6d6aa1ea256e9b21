import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { imageTree } from './image-tree.ts';
import { forPlatforms, ownPlatform } from './platforms.ts';

const FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
const stored = new Map<Digest, Buffer>();

function keep(value: object): Digest {
  const bytes = Buffer.from(JSON.stringify(value));
  const digest = digestOf(bytes);
  stored.set(digest, bytes);
  return digest;
}

function blob(name: string, mediaType = 'application/vnd.oci.image.layer.v1.tar') {
  return { mediaType, digest: digestOf(Buffer.from(name)), size: name.length };
}

function image(...layers: object[]): Digest {
  const config = blob('config', 'application/vnd.oci.image.config.v1+json');
  return keep({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers });
}

function entry(digest: Digest, platform?: object, mediaType: string = OCI_MANIFEST) {
  return { mediaType, digest, size: 1, ...(platform === undefined ? {} : { platform }) };
}

function index(...manifests: object[]): Digest {
  return keep({ schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}

const read = async (digest: Digest) => stored.get(digest);
const AMD = { os: 'linux', architecture: 'amd64' };
const ARM = { os: 'linux', architecture: 'arm64', variant: 'v8' };

async function sizesOf(root: Digest, ...platforms: string[]): Promise<number[]> {
  const { blobs } = await imageTree(root, platforms, read);
  return [...blobs.values()].toSorted((a, b) => a - b);
}

test('an image is its config and layers, each once, without foreign ones', async () => {
  const root = image(blob('one'), blob('two', FOREIGN), blob('one'));
  assert.deepEqual(await sizesOf(root, 'linux/amd64'), [3, 6]);
});

test('of an index only the wanted platforms are followed', async () => {
  const arm = image(blob('armlayer'));
  const gone = digestOf(Buffer.from('never pushed'));
  const inner = index(entry(arm, ARM));
  const root = index(entry(gone, AMD), entry(inner, undefined, OCI_INDEX));
  assert.deepEqual(await sizesOf(root, 'linux/arm64'), [6, 8]);
  assert.deepEqual(await sizesOf(root, 'linux/arm64/v8'), [6, 8]);
  await assert.rejects(sizesOf(root, 'all'), { code: 'NOT_THERE' });
  await assert.rejects(sizesOf(root, 'linux/amd64'), { code: 'NOT_THERE' });
  await assert.rejects(
    sizesOf(inner, 'linux/s390x'),
    /nothing for linux\/s390x; it has linux\/arm64\/v8/,
  );
});

test('indexes within indexes end, and what is no manifest is said to be none', async () => {
  let root = image(blob('deep'));
  for (let depth = 0; depth < 6; depth += 1) root = index(entry(root, AMD, OCI_INDEX));
  await assert.rejects(sizesOf(root, 'linux/amd64'), { code: 'NO_IMAGE' });
  await assert.rejects(sizesOf(keep({ hello: 1 }), 'all'), { code: 'NO_IMAGE' });
});

test('platforms are named as images name them', () => {
  assert.equal(ownPlatform('x64'), 'linux/amd64');
  assert.equal(ownPlatform('arm64'), 'linux/arm64');
  assert.deepEqual(forPlatforms([], ['all']), []);
});
