// Everything that is wrong with the data of a hub that does not run, wherever it is.
import assert from 'node:assert/strict';
import path from 'node:path';
import { StoredFiles, type FileLister, type StoredFile } from '../../hub/blobs/stored-files.ts';
import { openBlobStore } from '../../hub/blobs/open-store.ts';
import { KyselyCheckStore } from '../../hub/catalog/check-store.ts';
import { KyselyObjectIndex, type ObjectTables } from '../../hub/catalog/object-index.ts';
import type { OpenCatalog } from '../../hub/catalog/open-catalog.ts';
import { openPostgresCatalog } from '../../hub/catalog/postgres-catalog.ts';
import { openSqliteCatalog } from '../../hub/catalog/sqlite-catalog.ts';
import { Check, type CheckReport } from '../../hub/check/check.ts';
import { checkedOptions, HubOptions, type HubConfig } from '../../hub/options.ts';
import { loadConfig } from '../../proto/ops/config.ts';

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
  const catalog = await openCatalog(config);
  try {
    const objects = catalog.db.withTables<ObjectTables>();
    const { dataDir } = config.hub;
    const index = new KyselyObjectIndex({ db: objects });
    const blobs = await openBlobStore(config.blobs, { dataDir, index });
    const files = bucket === undefined ? filesIn(dataDir) : objectsOf(catalog);
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

async function openCatalog(config: HubConfig): Promise<OpenCatalog> {
  const { postgres } = checkedOptions(config);
  if (postgres === undefined) {
    return openSqliteCatalog({ path: path.join(config.hub.dataDir, 'catalog.sqlite') });
  }
  const { tls: _, caFile: __, ...target } = postgres;
  return openPostgresCatalog(target);
}

function filesIn(dataDir: string): FileLister {
  return new StoredFiles({ root: path.join(dataDir, 'registry') });
}

/** The objects of blobs as if they were files, so that they are hashed too. */
function objectsOf({ db }: OpenCatalog): FileLister {
  return {
    async *list(): AsyncGenerator<StoredFile> {
      const rows = await db
        .withTables<ObjectTables>()
        .selectFrom('blob_object')
        .selectAll()
        .execute();
      for (const { digest, object_key: key, size } of rows) {
        yield { path: key, size: Number(size), digest };
      }
    },
    remove: () => assert.fail('nothing is repaired here'),
    setAside: () => assert.fail('nothing is repaired here'),
  };
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
