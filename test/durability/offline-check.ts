// Everything that is wrong with the data of a hub that does not run, wherever it is.
import assert from 'node:assert/strict';
import { openBlobStore, openStoredFiles } from '../../hub/blobs/open-store.ts';
import { KyselyCheckStore } from '../../hub/catalog/check-store.ts';
import { KyselyObjectIndex, type ObjectTables } from '../../hub/catalog/object-index.ts';
import type { OpenCatalog } from '../../hub/catalog/open-catalog.ts';
import { openConfiguredCatalog } from '../../hub/catalog/open-configured.ts';
import { checkHub } from '../../hub/check/check-hub.ts';
import { Check, type CheckReport } from '../../hub/check/check.ts';
import { checkedOptions, HubOptions } from '../../hub/options.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { until } from '../rig/until.ts';

/** Longer than a hub that died is taken to be alive. */
const GONE_MS = 60_000;

/** What the product says of a hub that was stopped: nothing. */
export async function assertProductFindsNothing(sections: object): Promise<void> {
  const config = loadConfig(HubOptions, { text: JSON.stringify(sections), env: {} });
  const { signal } = new AbortController();
  const options = { hash: true, repair: true };
  const found = await until('no hub that was killed counts any more', GONE_MS, () =>
    checkHub(config, options, { signal }).catch((err: unknown) => {
      if (hasCode(err, 'CATALOG_IN_USE')) return undefined;
      throw err;
    }),
  );
  const { counts, problems } = found;
  assert.deepEqual({ ...counts, orphan: 0 }, { orphan: 0 }, JSON.stringify(problems));
  const again = await checkHub(config, { hash: false, repair: false }, { signal });
  assert.deepEqual(again.counts, {}, JSON.stringify(again.problems));
}

/** Keys of the objects, and of the uploads in parts, that are in the bucket of a hub. */
export type BucketKeys = () => Promise<readonly string[]>;

/**
 * Fails for anything but files of pushes that were cut before they were recorded. Returns how many
 * blobs there are.
 */
export async function assertWhole(
  sections: object,
  options: { hash: boolean },
  bucket?: BucketKeys,
): Promise<CheckReport> {
  const config = loadConfig(HubOptions, { text: JSON.stringify(sections), env: {} });
  const { postgres } = checkedOptions(config);
  const catalog = await openConfiguredCatalog(postgres, config.hub);
  try {
    const objects = catalog.db.withTables<ObjectTables>();
    const { dataDir } = config.hub;
    const index = new KyselyObjectIndex({ db: objects });
    const blobs = await openBlobStore(config.blobs, { dataDir, index });
    using files = await openStoredFiles(config.blobs, { dataDir, index });
    const store = new KyselyCheckStore({ db: catalog.db });
    const check = new Check({ ...options, repair: false }, { store, blobs, files });
    const { signal } = new AbortController();
    const report = await check.run({ signal });
    await blobs.close();
    assert.deepEqual({ ...report.counts, orphan: 0 }, { orphan: 0 }, JSON.stringify(report));
    if (bucket !== undefined) await assertNoneLost(catalog, await bucket());
    return report;
  } finally {
    await catalog.close();
  }
}

/** Each object is a blob's or noted as loose, so that a sweep removes it. */
async function assertNoneLost({ db }: OpenCatalog, keys: readonly string[]): Promise<void> {
  const objects = db.withTables<ObjectTables>();
  const own = await objects.selectFrom('blob_object').select('object_key').execute();
  const loose = await objects.selectFrom('loose_object').select('object_key').execute();
  const known = new Set([...own, ...loose].map(({ object_key: key }) => key));
  assert.deepEqual(
    keys.filter((key) => !known.has(key)),
    [],
    'objects that nobody knows',
  );
}
