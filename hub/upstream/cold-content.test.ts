import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KyselyUpstreamStore, type UpstreamTables } from '../catalog/upstream-store.ts';
import { MIB } from '../registry/registry-fixture.ts';
import { coldCatalog } from './cold-content.ts';
import { bytesOf, Origin, startPullHub } from './pull-fixture.ts';
import { TAG_KNOWN_MS } from './pull-constants.ts';

const APP = 'docker.io/library/app';

test('agents know of a blob of an upstream before it is here, and of no secret', async (t) => {
  const origin = await Origin.start(t);
  const { manifest, layer, config } = origin.putImage('library/app', 'latest', bytesOf(5 * MIB));
  const { hub, upstreams } = await startPullHub(t, [origin]);
  await hub.ask(`/v2/${APP}/manifests/latest`);
  const { catalog } = hub;
  const clock = { ms: Date.now() };
  const store = new KyselyUpstreamStore({ db: catalog.db.withTables<UpstreamTables>() });
  const fleet = coldCatalog({ catalog, store, upstreams, now: () => clock.ms });
  assert.deepEqual(await fleet.blobIn(APP, layer), { size: 5 * MIB });
  assert.deepEqual(
    (await fleet.reachable(APP, manifest))?.digests.toSorted(),
    [config, layer].toSorted(),
  );
  assert.equal((await fleet.reachable(APP, layer))?.manifestDigest, manifest);
  assert.equal(await fleet.tagged(APP, 'latest'), manifest);
  await catalog.addBlob({ digest: layer, size: 5 * MIB }, 'secret/app');
  assert.equal(await fleet.blobIn(APP, layer), undefined);
  assert.deepEqual((await fleet.reachable(APP, manifest))?.digests, [config]);
  assert.equal(await fleet.blobIn('team/app', config), undefined);
  clock.ms += TAG_KNOWN_MS + 1;
  assert.equal(await fleet.tagged(APP, 'latest'), undefined, 'nobody has compared it since');
});
