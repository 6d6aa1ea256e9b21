// What the store of upstreams must do, in whichever database.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import type { UpstreamStore } from '../upstream/store.ts';
import { HUB_CLOCK_SKEW_MS } from './constants.ts';
import type { OpenCatalog } from './open-catalog.ts';
import type { NewTagCheck, TagCheck } from './port.ts';
import { KyselyUploadStore, type UploadTables } from './upload-store.ts';
import { KyselyUpstreamStore, type UpstreamTables } from './upstream-store.ts';

const REPOSITORY = 'docker.io/library/app';
const LAYER = digestOf(Buffer.from('layer'));
const SIZE = 5_000_000_000;
const TIMES = { nowMs: 1_700_000_000_000, expiresAtMs: 1_700_000_100_000 };
const KNOWN = { etag: '"sha256:1"', checkedAtMs: 1_700_000_000_000 };
const LATER = { etag: undefined, checkedAtMs: KNOWN.checkedAtMs + 1 };

type Rig = { store: UpstreamStore; catalog: OpenCatalog };

/** What is noted at the time of the answer. */
function noted(check: TagCheck): NewTagCheck {
  return { ...check, nowMs: check.checkedAtMs };
}

/** A manifest that names a layer nobody has, once or more often. */
async function putManifest(
  { catalog }: Rig,
  tags: string[],
  { layers = 1, checked }: { layers?: number; checked?: NewTagCheck } = {},
): Promise<Digest> {
  const layer = { mediaType: 'application/octet-stream', digest: LAYER, size: SIZE };
  const config = { ...layer, digest: digestOf(Buffer.from('config')), size: 6 };
  const all = Array.from({ length: layers }, () => layer);
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: all };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(bytes);
  const references = [LAYER, config.digest].map((one) => ({ digest: one, kind: 'blob' as const }));
  const own = { repository: REPOSITORY, digest, mediaType: OCI_MANIFEST, bytes };
  await catalog.putManifest({ ...own, references, tags, ...(checked && { checked }) });
  return digest;
}

const CASES: Record<string, (rig: Rig) => Promise<void>> = {
  'what is known of a tag goes with the tag': async (rig) => {
    const { store, catalog } = rig;
    const digest = await putManifest(rig, ['v1']);
    const latest = { tag: 'latest', digest };
    await store.tagChecked(REPOSITORY, latest, noted(KNOWN));
    assert.equal(await store.tagCheck(REPOSITORY, 'latest'), undefined, 'there is no such tag');
    await putManifest(rig, ['latest']);
    await store.tagChecked(REPOSITORY, { tag: 'latest', digest: LAYER }, noted(KNOWN));
    assert.equal(await store.tagCheck(REPOSITORY, 'latest'), undefined, 'it names something else');
    await store.tagChecked(REPOSITORY, latest, noted(KNOWN));
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'latest'), KNOWN);
    assert.equal(await store.tagCheck(REPOSITORY, 'v1'), undefined);
    await store.tagChecked(REPOSITORY, latest, noted(LATER));
    await store.tagChecked(REPOSITORY, latest, noted(KNOWN));
    await store.tagChecked(REPOSITORY, { tag: 'v1', digest }, noted(KNOWN));
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'latest'), LATER);
    await catalog.deleteTag(REPOSITORY, 'latest');
    assert.equal(await store.tagCheck(REPOSITORY, 'latest'), undefined);
    await catalog.deleteManifest(REPOSITORY, digest);
    assert.equal(await store.tagCheck(REPOSITORY, 'v1'), undefined);
  },

  'a tag moves with what is noted of it, and not after a later answer': async (rig) => {
    const { store, catalog } = rig;
    const early = noted(KNOWN);
    const late = noted(LATER);
    const first = await putManifest(rig, ['latest'], { checked: early });
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'latest'), KNOWN);
    const second = await putManifest(rig, ['latest'], { checked: late, layers: 2 });
    assert.equal(await catalog.tagged(REPOSITORY, 'latest'), second);
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'latest'), LATER);
    await putManifest(rig, ['latest', 'v1'], { checked: early });
    assert.equal(await catalog.tagged(REPOSITORY, 'latest'), second, 'an answer of before');
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'latest'), LATER);
    assert.equal(await catalog.tagged(REPOSITORY, 'v1'), first);
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'v1'), KNOWN);
    const [last] = await Promise.all([
      putManifest(rig, ['race'], { checked: late, layers: 2 }),
      putManifest(rig, ['race'], { checked: early }),
    ]);
    assert.equal(await catalog.tagged(REPOSITORY, 'race'), last);
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'race'), LATER);
  },

  'what a clock far ahead noted of a tag holds nobody up': async (rig) => {
    const { store, catalog } = rig;
    const aheadMs = KNOWN.checkedAtMs + HUB_CLOCK_SKEW_MS + 1;
    const ahead = { etag: undefined, checkedAtMs: aheadMs, nowMs: aheadMs };
    await putManifest(rig, ['latest'], { checked: ahead, layers: 2 });
    const digest = await putManifest(rig, ['latest'], { checked: noted(KNOWN) });
    assert.equal(await catalog.tagged(REPOSITORY, 'latest'), digest);
    assert.deepEqual(await store.tagCheck(REPOSITORY, 'latest'), KNOWN);
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
