import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Digest } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { MIB } from '../registry/registry-fixture.ts';
import { AHEAD_MAX, INGEST_FIRST_BYTES } from './pull-constants.ts';
import { bytesOf, Origin, startPullHub } from './pull-fixture.ts';

const APP = parseRepository('docker.io/library/app');
const LAYER = bytesOf(9 * MIB);

/** A hub that has the manifest of an image, and nothing else of it. */
async function rig(t: TestContext) {
  const origin = await Origin.start(t);
  const { manifest, layer } = origin.putImage('library/app', 'v1', LAYER);
  const { hub, ingests } = await startPullHub(t, [origin]);
  assert.equal((await hub.ask(`/v2/${APP}/manifests/${manifest}`)).status, 200);
  const ahead = (digest: Digest, repository = APP): void => ingests.ahead?.(repository, digest);
  const read = (digest = layer) => hub.ask(`/v2/${APP}/blobs/${digest}`);
  const comes = async (digest = layer) => {
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    while (ingests.find(APP, digest) === undefined) await setImmediate();
    const ingest = ingests.find(APP, digest);
    assert.ok(ingest);
    return ingest;
  };
  return { origin, hub, ingests, layer, ahead, read, comes };
}

test('ahead come the first bytes of a blob, and all when somebody asks for it', async (t) => {
  const { origin, layer, ahead, read, comes } = await rig(t);
  ahead(layer);
  const ingest = await comes();
  await ingest.progress(INGEST_FIRST_BYTES - 1, {});
  ahead(layer);
  for (let turns = 0; turns < 100; turns += 1) await setImmediate();
  assert.ok(ingest.received < INGEST_FIRST_BYTES + MIB, `${ingest.received}`);
  assert.equal(ingest.leavesFrom(0).length, (INGEST_FIRST_BYTES / MIB) * 32);
  assert.ok((await read()).body.equals(LAYER));
  assert.equal(await ingest.outcome, 'stored');
  assert.equal(origin.count('GET', layer), 1);
  ahead(layer);
  assert.ok((await read()).body.equals(LAYER));
  assert.equal(origin.count('GET', layer), 1, 'what is stored is fetched no more');
});

test('what nobody asks for is dropped, and fetched anew for who asks later', async (t) => {
  const { origin, hub, layer, ahead, read, comes } = await rig(t);
  ahead(layer);
  const ingest = await comes();
  assert.equal(await ingest.outcome, 'failed');
  const unwanted = 'upstream_ingests_total{upstream="docker.io",result="unwanted"}';
  assert.equal(await hub.metric(unwanted), 1);
  assert.ok((await read()).body.equals(LAYER));
  assert.equal(origin.count('GET', layer), 2);
});

test('who asks while the upstream has not answered yet has it whole', async (t) => {
  const { origin, layer, ahead, read } = await rig(t);
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  origin.blobFault = (_request, response, bytes) => {
    asked.resolve();
    const { length } = bytes;
    void answer.promise.then(() =>
      response.writeHead(200, { 'content-length': length }).end(bytes),
    );
    return true;
  };
  ahead(layer);
  await asked.promise;
  const reading = read();
  answer.resolve();
  assert.ok((await reading).body.equals(LAYER));
  assert.equal(origin.count('GET', layer), 1);
});

test('what no manifest of the repository names is not fetched ahead', async (t) => {
  const { origin, ingests, layer, ahead, comes } = await rig(t);
  const secret = origin.putBlob('library/app', bytesOf(6 * MIB));
  ahead(secret);
  ahead(layer, parseRepository('docker.io/library/other'));
  ahead(layer, parseRepository('team/app'));
  ahead(layer);
  await comes();
  assert.equal(ingests.find(APP, secret), undefined);
  assert.equal(origin.count('GET', secret), 0);
  assert.equal(origin.count('GET', 'library/other'), 0);
});

test('so many are fetched ahead at the same time, and no more', async (t) => {
  const { origin, hub, ingests, ahead } = await rig(t);
  const layers = Array.from({ length: AHEAD_MAX + 2 }, (_, at) => bytesOf(6 * MIB + at));
  const digests = layers.map((bytes) => origin.putBlob('library/app', bytes));
  const type = 'application/vnd.oci.image.layer.v1.tar';
  const manifest = origin.putManifest('library/app', 'many', {
    config: { mediaType: type, digest: digests[0], size: layers[0]?.length },
    layers: digests.map((digest, at) => ({ mediaType: type, digest, size: layers[at]?.length })),
  });
  assert.equal((await hub.ask(`/v2/${APP}/manifests/${manifest}`)).status, 200);
  for (const digest of digests) ahead(digest);
  const running = () => digests.flatMap((digest) => ingests.find(APP, digest) ?? []);
  // oxlint-disable-next-line no-await-in-loop -- one look after the other
  while (running().length < AHEAD_MAX) await setImmediate();
  await Promise.all(running().map((ingest) => ingest.outcome));
  const asked = digests.map((digest) => origin.count('GET', digest));
  assert.equal(
    asked.reduce((sum, count) => sum + count, 0),
    AHEAD_MAX,
  );
});
