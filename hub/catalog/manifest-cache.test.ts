import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { MANIFEST_CACHE_BYTES } from './constants.ts';
import { ManifestCache } from './manifest-cache.ts';
import type { NewManifest, StoredManifest } from './port.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';

function manifestOf(text: string, tags: string[] = []): NewManifest {
  const bytes = Buffer.from(text);
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  return { repository: 'app', digest: digestOf(bytes), mediaType, bytes, references: [], tags };
}

async function opened(t: TestContext) {
  const catalog = await openSqliteCatalog({ path: ':memory:' });
  t.after(() => catalog.close());
  const told = async (reference: Parameters<typeof catalog.manifest>[1]) =>
    (await catalog.manifest('app', reference))?.bytes.toString();
  return { catalog, told };
}

test('a tag that moves names the new manifest at once', async (t) => {
  const { catalog, told } = await opened(t);
  await catalog.putManifest(manifestOf('old', ['latest']));
  assert.equal(await told({ tag: 'latest' }), 'old');
  await catalog.putManifest(manifestOf('new', ['latest']));
  assert.equal(await told({ tag: 'latest' }), 'new');
});

test('a deleted tag is gone at once, its manifest is not', async (t) => {
  const { catalog, told } = await opened(t);
  const manifest = manifestOf('one', ['a', 'b']);
  await catalog.putManifest(manifest);
  for (const tag of ['a', 'b']) assert.equal(await told({ tag }), 'one');
  await catalog.deleteTag('app', 'a');
  assert.equal(await told({ tag: 'a' }), undefined);
  assert.equal(await told({ tag: 'b' }), 'one');
  assert.equal(await told({ digest: manifest.digest }), 'one');
});

test('a deleted manifest is gone by digest and by each tag, even when it comes back', async (t) => {
  const { catalog, told } = await opened(t);
  const manifest = manifestOf('one', ['a']);
  await catalog.putManifest(manifest);
  assert.equal(await told({ tag: 'a' }), 'one');
  assert.equal(await told({ digest: manifest.digest }), 'one');
  await catalog.deleteManifest('app', manifest.digest);
  assert.equal(await told({ tag: 'a' }), undefined);
  assert.equal(await told({ digest: manifest.digest }), undefined);
  await catalog.putManifest(manifestOf('one'));
  assert.equal(await told({ digest: manifest.digest }), 'one');
  assert.equal(await told({ tag: 'a' }), undefined);
});

test('what was read before a change is not kept after it', async () => {
  const cache = new ManifestCache();
  const { digest, mediaType } = manifestOf('old');
  const of = (text: string): StoredManifest => ({ digest, mediaType, bytes: Buffer.from(text) });
  const slow = Promise.withResolvers<StoredManifest>();
  const first = cache.get('app', { tag: 'a' }, () => slow.promise);
  cache.changed('app', [{ tag: 'a' }]);
  slow.resolve(of('old'));
  assert.equal((await first)?.bytes.toString(), 'old');
  const second = await cache.get('app', { tag: 'a' }, async () => of('new'));
  assert.equal(second?.bytes.toString(), 'new');
});

test('manifests beyond the bound are read again', async () => {
  const cache = new ManifestCache();
  const { digest, mediaType } = manifestOf('large');
  const bytes = Buffer.alloc(MANIFEST_CACHE_BYTES / 2);
  let reads = 0;
  const read = async (): Promise<StoredManifest> => {
    reads += 1;
    return { digest, mediaType, bytes };
  };
  await cache.get('app', { tag: 'a' }, read);
  await cache.get('app', { tag: 'a' }, read);
  assert.equal(reads, 1);
  await cache.get('app', { tag: 'b' }, read);
  await cache.get('app', { tag: 'a' }, read);
  assert.equal(reads, 3);
});
