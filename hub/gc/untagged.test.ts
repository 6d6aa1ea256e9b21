import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { checkedOptions, HubOptions } from '../options.ts';
import { imageOf, TestGc } from './gc-fixture.ts';
import { untaggedMsOf } from './options.ts';

const HOUR_MS = 3_600_000;
const { signal } = new AbortController();
const layer = Buffer.from('layer');

function descriptorOf(bytes: Buffer, mediaType: string) {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

async function status(gc: TestGc, reference: string): Promise<number> {
  return (await gc.registry.ask(`/v2/team/app/manifests/${reference}`)).status;
}

test('untagged manifests go after their time, with their blobs and their referrers', async (t) => {
  const gc = await TestGc.start(t);
  const image = await gc.pushImage([layer]);
  const manifests = [descriptorOf(imageOf([layer]), OCI_MANIFEST)];
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
  await gc.registry.putManifest('v1', index, OCI_INDEX);
  const bytes = Buffer.from(JSON.stringify(index));
  const subject = descriptorOf(bytes, OCI_INDEX);
  const config = descriptorOf(layer, 'application/octet-stream');
  const signature = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [], subject };
  const digest = digestOf(Buffer.from(JSON.stringify(signature)));
  assert.equal((await gc.registry.putManifest(digest, signature)).status, 201);
  const collector = gc.collector({ untaggedMs: HOUR_MS, graceMs: HOUR_MS });
  const atOnce = gc.collector({ untaggedMs: 0, graceMs: HOUR_MS });
  assert.equal((await atOnce.collect({}, { signal }))?.manifests, 0);
  assert.deepEqual([await status(gc, image), await status(gc, digest)], [200, 200]);
  await gc.registry.ask('/v2/team/app/manifests/v1', { method: 'DELETE' });
  assert.equal((await collector.collect({}, { signal }))?.manifests, 0, 'within its time');
  gc.aheadMs = 2 * HOUR_MS;
  assert.equal((await gc.collector().collect({}, { signal }))?.manifests, 0, 'kept by default');
  assert.equal(await status(gc, image), 200);
  assert.equal(
    (await gc.garbage({ untaggedMs: HOUR_MS })).length,
    1,
    'what it reached comes after',
  );
  assert.equal((await collector.collect({}, { signal }))?.manifests, 3);
  const gone = [image, digest, digestOf(bytes)].map((one) => status(gc, one));
  assert.deepEqual(await Promise.all(gone), [404, 404, 404]);
  gc.aheadMs = 4 * HOUR_MS;
  await collector.collect({}, { signal });
  assert.equal(await gc.isStored(layer), false);
});

function decoded(untagged: string): number | undefined {
  const config = loadConfig(HubOptions, { text: JSON.stringify({ gc: { untagged } }), env: {} });
  checkedOptions(config);
  return untaggedMsOf(config.gc);
}

test('how long untagged manifests are kept is a setting that is checked', () => {
  assert.deepEqual([decoded('keep'), decoded('36h')], [undefined, 36 * HOUR_MS]);
  for (const wrong of ['never', '1s', '900d', '']) {
    assert.throws(() => decoded(wrong), { code: 'CONFIG_INVALID', message: /gc\.untagged/ });
  }
});
