// What the catalog must do for the collector, whatever database it is in.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Digest } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { Collector } from '../gc/collector.ts';
import { GC_LEASE_MS } from '../gc/constants.ts';
import { createGcMetrics } from '../gc/metrics.ts';
import {
  digest as digestOf,
  manifest,
  REPOSITORY,
  sharedChecks,
  type CatalogRig,
  type SharedOptions,
} from './catalog-fixture.ts';
import { KyselyGcStore } from './gc-store.ts';
import { KyselyObjectIndex, type ObjectTables } from './object-index.ts';
import type { OpenCatalog } from './open-catalog.ts';

const LAYER = digestOf('layer');
const SIZE = 5;
const HOUR_MS = 3_600_000;
const IMAGE = digestOf('image');
const { signal } = new AbortController();

type Parts = { catalog: OpenCatalog; store: KyselyGcStore; other: KyselyGcStore };
type Check = (promise: string, work: (parts: Parts) => Promise<void>) => void;

export function gcConformance(
  where: string,
  rig: (t: TestContext) => Promise<CatalogRig>,
  options: SharedOptions = {},
): void {
  const shared = sharedChecks(where, rig, options);
  const check: Check = (promise, work) =>
    shared(promise, (catalog, second) => {
      const [store, other] = [new KyselyGcStore(catalog), new KyselyGcStore(second)];
      return work({ catalog, store, other });
    });
  claimChecks(check);
  holdChecks(check);
  raceChecks(check);
  takeoverChecks(check);
}

/** No time to wait for, and all that is unused now. */
function now() {
  return { beforeMs: Date.now(), nowMs: Date.now() };
}

function push(catalog: OpenCatalog, repository = REPOSITORY, layer = LAYER): Promise<void> {
  return catalog.addBlob({ digest: layer, size: SIZE }, repository);
}

function putImage(catalog: OpenCatalog, image = IMAGE, layer = LAYER): Promise<void> {
  const references = [{ digest: layer, kind: 'blob', required: true }] as const;
  return catalog.putManifest(manifest('image', { digest: image, references }));
}

async function settle(store: KyselyGcStore): Promise<string[]> {
  const times = now();
  const links = await store.unusedLinks({ ...times, max: 99 });
  return (await store.settleLinks(links, times)).map(({ fate }) => fate);
}

async function claim(store: KyselyGcStore, number: number): Promise<Digest[]> {
  const times = now();
  const idle = await store.idleBlobs({ ...times, max: 99 });
  return store.claimBlobs(idle, { ...times, claim: number });
}

function claimChecks(check: Check): void {
  check('a blob that a manifest names is kept, one that none names goes', async (parts) => {
    const { catalog, store } = parts;
    await push(catalog);
    await putImage(catalog);
    assert.deepEqual(await settle(store), []);
    await catalog.deleteManifest(REPOSITORY, IMAGE);
    assert.deepEqual(await settle(store), ['removed']);
    assert.equal(await catalog.blobIn(REPOSITORY, LAYER), undefined);
    await assert.rejects(putImage(catalog), { data: { code: 'BLOB_UNLINKED', digest: LAYER } });
    assert.deepEqual(await store.restore(LAYER, Date.now()), [REPOSITORY]);
    await putImage(catalog);
  });

  check('while bytes leave, the blob is neither recorded, mounted nor pinned', async (parts) => {
    const { catalog, store } = parts;
    await push(catalog);
    await settle(store);
    assert.equal(await catalog.linkBlob('team/new', LAYER), false, 'in quarantine');
    assert.deepEqual(await claim(store, 1), [LAYER]);
    const leaving = { data: { code: 'BLOB_LEAVING', digest: LAYER } };
    await assert.rejects(push(catalog), leaving);
    await assert.rejects(catalog.pinBlob(LAYER), leaving);
    assert.equal(await catalog.linkBlob('team/new', LAYER), false);
    assert.equal(await store.restore(LAYER, Date.now()), undefined);
    await store.forgetBlobs([LAYER], 1);
    await push(catalog);
    assert.equal((await catalog.blob(LAYER))?.size, SIZE);
  });

  check('bytes that are uploaded again are not claimed', async ({ catalog, store }) => {
    await push(catalog);
    await settle(store);
    assert.equal(await catalog.pinBlob(LAYER), 'pinned');
    assert.deepEqual(await claim(store, 1), []);
  });

  check('what was pushed since it was listed is not claimed', async ({ catalog, store }) => {
    await push(catalog);
    await settle(store);
    const listed = await store.idleBlobs({ ...now(), max: 9 });
    await push(catalog);
    assert.deepEqual(await store.claimBlobs(listed, { ...now(), claim: 1 }), []);
    await catalog.removeBlobFrom(REPOSITORY, LAYER);
    const stale = listed.map((one) => ({ ...one, sinceMs: one.sinceMs - 1 }));
    assert.deepEqual(await store.claimBlobs(stale, { ...now(), claim: 1 }), []);
  });

  check('one hub collects at a time, each under a number of its own', async (parts) => {
    const { store, other } = parts;
    const lease = { nowMs: 100, untilMs: 200, dueMs: 100 };
    const first = await store.take({ ...lease, holder: 'a' });
    assert.equal(await other.take({ ...lease, holder: 'b' }), undefined);
    const second = await other.take({ holder: 'b', nowMs: 200, untilMs: 300, dueMs: 200 });
    assert.ok(first !== undefined && second !== undefined && second > first && first > 0);
    assert.equal(await store.keep({ holder: 'a', untilMs: 400 }), false);
  });
}

function holdChecks(check: Check): void {
  check('while somebody copies blobs none is removed, and all the more later', async (parts) => {
    const { catalog, store, other } = parts;
    await push(catalog);
    await settle(store);
    const nowMs = Date.now();
    await store.hold('copy', { untilMs: nowMs + HOUR_MS, nowMs });
    assert.ok(await other.heldUntil(Date.now()));
    assert.deepEqual(await claim(other, 1), []);
    await store.endHold('copy');
    assert.equal(await other.heldUntil(Date.now()), undefined);
    assert.deepEqual(await claim(other, 1), [LAYER]);
  });

  check('who holds removals off and is gone does so for a while only', async (parts) => {
    const { catalog, store, other } = parts;
    await push(catalog);
    await settle(store);
    const nowMs = Date.now();
    await store.hold('gone', { untilMs: nowMs + 1000, nowMs });
    assert.deepEqual(await claim(other, 1), []);
    const idle = await other.idleBlobs({ ...now(), max: 9 });
    const later = { claim: 1, beforeMs: nowMs + 1000, nowMs: nowMs + 1000 };
    assert.equal(
      await store.keepHold('gone', { untilMs: nowMs + 9000, nowMs: nowMs + 1000 }),
      false,
    );
    assert.deepEqual(await other.claimBlobs(idle, later), [LAYER]);
  });
}

function raceChecks(check: Check): void {
  check('a manifest that is taken keeps its blob, whoever collects meanwhile', async (parts) => {
    const { catalog, store, other } = parts;
    for (let round = 0; round < 12; round += 1) {
      const layer = digestOf(`layer ${round}`);
      const image = digestOf(`image ${round}`);
      await push(catalog, REPOSITORY, layer);
      const [taken] = await Promise.allSettled([
        putImage(catalog, image, layer),
        settle(store),
        settle(other),
      ]);
      const found = await catalog.blobIn(REPOSITORY, layer);
      assert.equal(found !== undefined, taken.status === 'fulfilled', `round ${round}`);
    }
  });

  check('of a mount and a collection one comes first', async ({ catalog, store }) => {
    for (let round = 0; round < 12; round += 1) {
      const layer = digestOf(`layer ${round}`);
      await push(catalog, REPOSITORY, layer);
      const times = now();
      const links = await store.unusedLinks({ ...times, max: 9 });
      const mounting = catalog.linkBlob('team/new', layer);
      const [mounted] = await Promise.all([mounting, store.settleLinks(links, times)]);
      await claim(store, round + 1);
      if (mounted) assert.equal((await catalog.blob(layer))?.size, SIZE, 'it is live');
      else assert.equal(await catalog.blobIn('team/new', layer), undefined);
      await catalog.removeBlobFrom('team/new', layer);
    }
  });

  check(
    'which agents have acted is known at every hub, until more is taken down',
    async (parts) => {
      const { store, other } = parts;
      await store.noteActed('one', 'v0');
      await store.noteActed('one', 'v1');
      await other.noteActed('two', 'v1');
      assert.deepEqual(await other.acted('v1'), new Set(['one', 'two']));
      assert.deepEqual(await store.acted('v0'), new Set());
      await other.purge(LAYER, Date.now());
      assert.deepEqual(await store.acted('v1'), new Set());
    },
  );

  check('what is taken down is nowhere, however many push it', async ({ catalog, other }) => {
    for (let round = 0; round < 12; round += 1) {
      const layer = digestOf(`layer ${round}`);
      const pushes = ['a', 'b', 'c'].map((name) => push(catalog, name, layer));
      await Promise.allSettled([...pushes, other.purge(layer, Date.now())]);
      assert.deepEqual(await catalog.repositoriesWith(layer, 9), []);
      await assert.rejects(push(catalog, 'a', layer), { code: /PURGED|BLOB_LEAVING/ });
      await assert.rejects(other.restore(layer, Date.now()), { code: 'PURGED' });
    }
  });
}

function takeoverChecks(check: Check): void {
  check(
    'a collection that stood still while another took over takes nothing new',
    async (parts) => {
      const { catalog, store, other } = parts;
      const index = new KyselyObjectIndex({ db: catalog.db.withTables<ObjectTables>() });
      const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      await storeBytes(index, catalog, 'key-1');
      const slow = collectorOf(store, index, {
        before: async () => {
          reached.resolve();
          await goOn.promise;
        },
      });
      const late = slow.collect({}, { signal });
      await reached.promise;
      const ahead = 2 * GC_LEASE_MS;
      const next = collectorOf(other, index, { ahead });
      assert.equal((await next.collect({}, { signal }))?.deleted, 1);
      await storeBytes(index, catalog, 'key-2');
      await putImage(catalog);
      goOn.resolve();
      await late.catch(() => undefined);
      assert.equal((await index.find(LAYER))?.key, 'key-2', 'the bytes pushed since are there');
      assert.equal((await catalog.blobIn(REPOSITORY, LAYER))?.size, SIZE);
    },
  );

  check('what a late collection forgets is not what another claims', async ({ catalog, store }) => {
    await push(catalog);
    await settle(store);
    assert.deepEqual(await claim(store, 1), [LAYER]);
    assert.deepEqual(await claim(store, 2), [LAYER]);
    await store.forgetBlobs([LAYER], 1);
    await store.unclaimBlobs([LAYER], 1);
    await assert.rejects(push(catalog), { code: 'BLOB_LEAVING' });
  });
}

async function storeBytes(
  index: KyselyObjectIndex,
  catalog: OpenCatalog,
  key: string,
): Promise<void> {
  await index.note({ key, pending: '' }, Date.now());
  await index.commit({ digest: LAYER, key, size: SIZE }, Date.now());
  await push(catalog);
}

/** Over bytes that have names, as in a bucket. */
function collectorOf(
  store: KyselyGcStore,
  index: KyselyObjectIndex,
  { before, ahead = 0 }: { before?: () => Promise<void>; ahead?: number },
): Collector {
  return new Collector(
    { graceMs: 0, quarantineMs: 0, now: () => Date.now() + ahead },
    {
      store,
      blobs: {
        nameOf: async (digest) => (await index.find(digest))?.key,
        remove: async (digest, name) => {
          await before?.();
          return index.remove({ digest, key: name }, Date.now());
        },
      },
      metrics: createGcMetrics(new MetricsRegistry({ prefix: 'flotilla_hub_' })),
      logger: createLogger({ level: 'silent', name: 'test' }),
    },
  );
}
