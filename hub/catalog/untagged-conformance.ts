// What the catalog must do with manifests that nothing reaches, whatever database it is in.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import {
  digest,
  manifest,
  REPOSITORY,
  sharedChecks,
  type CatalogRig,
  type SharedOptions,
} from './catalog-fixture.ts';
import { KyselyGcStore } from './gc-store.ts';
import type { OpenCatalog } from './open-catalog.ts';
import type { NewManifest } from './port.ts';

const ROUNDS = 12;

type Parts = { catalog: OpenCatalog; other: OpenCatalog; store: KyselyGcStore };
type Check = (promise: string, work: (parts: Parts) => Promise<void>) => void;

export function untaggedConformance(
  where: string,
  rig: (t: TestContext) => Promise<CatalogRig>,
  options: SharedOptions = {},
): void {
  const shared = sharedChecks(where, rig, options);
  const check: Check = (promise, work) =>
    shared(promise, (catalog, other) => work({ catalog, other, store: new KyselyGcStore(other) }));
  reachChecks(check);
  raceChecks(check);
}

function children(...names: string[]): NewManifest['references'] {
  return names.map((name) => ({ digest: digest(name), kind: 'manifest', required: true }));
}

/** Those of the manifests that are there. */
async function there(catalog: OpenCatalog, ...names: string[]): Promise<string[]> {
  const found = [];
  for (const name of names) {
    if (await catalog.manifest(REPOSITORY, { digest: digest(name) })) found.push(name);
  }
  return found;
}

/** Settles all that is due without any grace; how many it deleted. */
async function settle(store: KyselyGcStore): Promise<number> {
  return (await settling(store))();
}

/** The same, ready to begin. */
async function settling(store: KyselyGcStore): Promise<() => Promise<number>> {
  const times = { beforeMs: Date.now(), nowMs: Date.now() };
  const due = await store.untaggedManifests({ ...times, max: 99 });
  return async () => {
    const fates = await store.settleManifests(due, times);
    return fates.filter((fate) => fate === 'removed').length;
  };
}

async function settleAll(store: KyselyGcStore): Promise<void> {
  while ((await settle(store)) > 0);
}

/** Both at once; in odd rounds the other one begins. */
async function inTurns(
  round: number,
  one: () => Promise<unknown>,
  other: () => Promise<unknown>,
): Promise<PromiseSettledResult<unknown>[]> {
  if (round % 2 === 0) return Promise.allSettled([one(), other()]);
  return (await Promise.allSettled([other(), one()])).reverse();
}

function reachChecks(check: Check): void {
  check('what a tag, an index or a subject reaches is kept, the rest goes', async (parts) => {
    const { catalog, store } = parts;
    const names = ['image', 'child', 'index', 'signature', 'stray', 'of nothing'];
    await catalog.putManifest(manifest('image', { tags: ['v1'] }));
    await catalog.putManifest(manifest('child'));
    await catalog.putManifest(manifest('index', { tags: ['v2'], references: children('child') }));
    await catalog.putManifest(manifest('signature', { subject: digest('child') }));
    await catalog.putManifest(manifest('stray'));
    await catalog.putManifest(manifest('of nothing', { subject: digest('nothing') }));
    await settleAll(store);
    assert.deepEqual(await there(catalog, ...names), names.slice(0, 4));
    assert.equal(await settle(store), 0);
    const due = await store.untaggedManifests({ beforeMs: Date.now(), max: 9 });
    assert.deepEqual(due, [], 'what is reached is not looked at again');
  });

  check('what was reached goes with the last that reached it, level by level', async (parts) => {
    const { catalog, store } = parts;
    const names = ['child', 'signature', 'index'];
    await catalog.putManifest(manifest('child'));
    await catalog.putManifest(manifest('signature', { subject: digest('child') }));
    await catalog.putManifest(
      manifest('index', { tags: ['a', 'b'], references: children('child') }),
    );
    await settleAll(store);
    await catalog.deleteTag(REPOSITORY, 'a');
    await settleAll(store);
    assert.deepEqual(await there(catalog, ...names), names, 'one tag is left');
    await catalog.putManifest(manifest('next', { tags: ['b'] }));
    assert.equal(await settle(store), 1);
    assert.deepEqual(await there(catalog, ...names), ['child', 'signature']);
    assert.equal(await settle(store), 1);
    assert.equal(await settle(store), 1);
    assert.deepEqual(await there(catalog, ...names, 'next'), ['next']);
  });

  check('a manifest deleted by hand gives what it reached a grace of its own', async (parts) => {
    const { catalog, store } = parts;
    await catalog.putManifest(manifest('child'));
    await catalog.putManifest(manifest('signature', { subject: digest('index') }));
    await catalog.putManifest(manifest('index', { tags: ['a'], references: children('child') }));
    await settleAll(store);
    const beforeMs = Date.now();
    while (Date.now() === beforeMs) await new Promise((resolve) => setImmediate(resolve));
    await catalog.deleteManifest(REPOSITORY, digest('index'));
    assert.deepEqual(await store.untaggedManifests({ beforeMs, max: 9 }), []);
    const due = await store.untaggedManifests({ beforeMs: Date.now(), max: 9 });
    assert.deepEqual(
      new Set(due.map((one) => one.digest)),
      new Set(['child', 'signature'].map(digest)),
    );
    assert.ok(due.every(({ used, size }) => !used && size > 0));
  });

  check('blobs of a manifest that is taken down or deleted may go', async ({ catalog, store }) => {
    const layer = { digest: digest('layer'), kind: 'blob', required: true } as const;
    for (const end of [() => store.purge(digest('image'), Date.now()), () => settleAll(store)]) {
      await catalog.addBlob({ digest: layer.digest, size: 5 }, REPOSITORY);
      await catalog.putManifest(manifest('image', { references: [layer] }));
      assert.equal((await catalog.blobIn(REPOSITORY, layer.digest))?.unusedSinceMs, undefined);
      await end();
      assert.ok((await catalog.blobIn(REPOSITORY, layer.digest))?.unusedSinceMs);
      await store.lift(digest('image'));
    }
  });
}

function raceChecks(check: Check): void {
  check('a manifest that is tagged while it would go is there with its tag', async (parts) => {
    const { catalog, store } = parts;
    for (let round = 0; round < ROUNDS; round += 1) {
      const layer = { digest: digest(`layer ${round}`), kind: 'blob', required: true } as const;
      const name = `image ${round}`;
      await catalog.addBlob({ digest: layer.digest, size: 5 }, REPOSITORY);
      await catalog.putManifest(manifest(name, { references: [layer] }));
      const tags = [`v${round}`];
      const put = () => catalog.putManifest(manifest(name, { references: [layer], tags }));
      const [taken] = await inTurns(round, put, await settling(store));
      assert.equal(taken?.status, 'fulfilled');
      const found = await catalog.manifest(REPOSITORY, { tag: `v${round}` });
      assert.equal(found?.digest, digest(name));
      const blob = await catalog.blobIn(REPOSITORY, layer.digest);
      assert.equal(blob?.unusedSinceMs, undefined, 'and so are its blobs');
    }
  });

  check('an index that is taken has what it names', async ({ catalog, store }) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const child = `child ${round}`;
      await catalog.putManifest(manifest(child));
      const index = manifest(`index ${round}`, {
        tags: [`i${round}`],
        references: children(child),
      });
      const [put] = await inTurns(round, () => catalog.putManifest(index), await settling(store));
      await settleAll(store);
      const found = await there(catalog, child);
      assert.deepEqual(found, put?.status === 'fulfilled' ? [child] : []);
      if (put?.status === 'rejected') {
        assert.deepEqual(put.reason.data, { code: 'BLOB_UNLINKED', digest: digest(child) });
      }
    }
  });

  check('of pushes that move one tag about, the last is kept and the rest goes', async (parts) => {
    const { catalog, other, store } = parts;
    const names = Array.from({ length: ROUNDS }, (_, i) => `image ${i}`);
    const push = (name: string, i: number) =>
      (i % 2 === 0 ? catalog : other).putManifest(manifest(name, { tags: ['latest'] }));
    await Promise.all([...names.map(push), settle(store)]);
    await settleAll(store);
    const last = await other.tagged(REPOSITORY, 'latest');
    const kept = await there(other, ...names);
    assert.deepEqual(kept.map(digest), [last]);
  });
}
