// What the store of upstreams must do, in whichever database.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import type { UpstreamStore } from '../upstream/store.ts';
import type { OpenCatalog } from './open-catalog.ts';
import { KyselyUploadStore, type UploadTables } from './upload-store.ts';
import { KyselyUpstreamStore, type UpstreamTables } from './upstream-store.ts';

const REPOSITORY = 'docker.io/library/app';
const LAYER = digestOf(Buffer.from('layer'));
const SIZE = 5_000_000_000;
const TIMES = { nowMs: 1_700_000_000_000, expiresAtMs: 1_700_000_100_000 };
const CHECK = { etag: '"sha256:1"', checkedAtMs: 1_700_000_000_000 };

type Rig = { store: UpstreamStore; catalog: OpenCatalog };

/** A manifest that names a layer nobody has. */
async function putManifest({ catalog }: Rig, tags: string[]): Promise<Digest> {
  const layer = { mediaType: 'application/octet-stream', digest: LAYER, size: SIZE };
  const config = { ...layer, digest: digestOf(Buffer.from('config')), size: 6 };
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(bytes);
  const references = [LAYER, config.digest].map((one) => ({ digest: one, kind: 'blob' as const }));
  const own = { repository: REPOSITORY, digest, mediaType: OCI_MANIFEST, bytes };
  await catalog.putManifest({ ...own, references, tags });
  return digest;
}

const CASES: Record<string, (rig: Rig) => Promise<void>> = {
  'what is known of a tag goes with the tag': async (rig) => {
    const { store, catalog } = rig;
    await store.tagChecked(REPOSITORY, 'latest', CHECK);
    assert.equal(await store.tagCheck(REPOSITORY, 'latest'), undefined, 'there is no such tag');
    const digest = await putManifest(rig, ['latest', 'v1']);
    await store.tagChecked(REPOSITORY, 'latest', CHECK);
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'latest'), CHECK);
    assert.equal(await store.tagCheck(REPOSITORY, 'v1'), undefined);
    const later = { etag: undefined, checkedAtMs: CHECK.checkedAtMs + 1 };
    await store.tagChecked(REPOSITORY, 'latest', later);
    await store.tagChecked(REPOSITORY, 'v1', CHECK);
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'latest'), later);
    await catalog.deleteTag(REPOSITORY, 'latest');
    assert.equal(await store.tagCheck(REPOSITORY, 'latest'), undefined);
    await catalog.deleteManifest(REPOSITORY, digest);
    assert.equal(await store.tagCheck(REPOSITORY, 'v1'), undefined);
  },

  'a blob is cold that a manifest names and nobody has': async (rig) => {
    const { store, catalog } = rig;
    assert.equal(await store.coldBlob(REPOSITORY, LAYER), undefined);
    const manifest = await putManifest(rig, []);
    assert.equal(await store.coldBlob(REPOSITORY, LAYER), SIZE);
    assert.equal(await store.coldBlob('docker.io/library/other', LAYER), undefined);
    assert.equal(await store.coldBlob(REPOSITORY, manifest), undefined);
    await catalog.addBlob({ digest: LAYER, size: SIZE }, 'secret/app');
    assert.equal(await store.coldBlob(REPOSITORY, LAYER), undefined);
    assert.equal(await store.namedSize(REPOSITORY, LAYER), SIZE);
  },

  'a manifest reaches blobs that nobody has when asked for cold ones, and no secret': async (
    rig,
  ) => {
    const { catalog } = rig;
    const manifest = await putManifest(rig, []);
    const cold = { cold: true };
    assert.deepEqual((await catalog.reachable(REPOSITORY, manifest))?.digests, []);
    assert.equal((await catalog.reachable(REPOSITORY, manifest, cold))?.digests.length, 2);
    const byLayer = await catalog.reachable(REPOSITORY, LAYER, cold);
    assert.equal(byLayer?.manifestDigest, manifest);
    await catalog.addBlob({ digest: LAYER, size: SIZE }, 'secret/app');
    const left = await catalog.reachable(REPOSITORY, manifest, cold);
    assert.deepEqual(left?.digests, [digestOf(Buffer.from('config'))]);
    assert.equal(await catalog.reachable(REPOSITORY, LAYER, cold), undefined);
  },

  'what was parked of a blob is found by all hubs, and goes with its upload': async (rig) => {
    const { store, catalog } = rig;
    const uploads = new KyselyUploadStore(
      { shared: true },
      { db: catalog.db.withTables<UploadTables>() },
    );
    assert.equal(await store.parked('docker.io', LAYER), undefined);
    const begin = async (id: string): Promise<void> =>
      uploads.create({ id, repository: REPOSITORY, subject: 'hub', state: '', size: 0 }, TIMES);
    await begin('a');
    await begin('b');
    assert.ok(await store.park('docker.io', LAYER, 'a'));
    assert.equal(await store.park('docker.io', LAYER, 'b'), false, 'one at a time');
    assert.ok(await store.park('ghcr.io', LAYER, 'b'), 'another scope');
    const own = { id: 'a', repository: REPOSITORY, subject: 'hub' };
    const untilMs = TIMES.nowMs + 1000;
    await uploads.hold(own, { holder: 'hub-1', nowMs: TIMES.nowMs, untilMs });
    assert.deepEqual(await store.parked('docker.io', LAYER), {
      session: 'a',
      repository: REPOSITORY,
      subject: 'hub',
      holder: 'hub-1',
      heldUntilMs: untilMs,
    });
    await catalog.addBlob({ digest: LAYER, size: SIZE }, REPOSITORY, { id: 'a' });
    assert.equal(await store.parked('docker.io', LAYER), undefined);
    assert.ok(await store.parked('ghcr.io', LAYER));
  },
};

/** Tests of the store of upstreams in one place; `open` gives an empty catalog. */
export function upstreamStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<OpenCatalog>,
  options: { skip?: string | false } = {},
): void {
  for (const [promise, work] of Object.entries(CASES)) {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      const catalog = await open(t);
      const store = new KyselyUpstreamStore({ db: catalog.db.withTables<UpstreamTables>() });
      await work({ store, catalog });
    });
  }
}
