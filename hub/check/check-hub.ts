import { access } from 'node:fs/promises';
import path from 'node:path';
import { ConfigError } from '../../proto/ops/errors.ts';
import { lockFolder } from '../../proto/ops/folder-lock.ts';
import { FilesystemBlobStore } from '../blobs/filesystem.ts';
import { StoredFiles } from '../blobs/stored-files.ts';
import { KyselyCheckStore } from '../catalog/check-store.ts';
import { openSqliteCatalog } from '../catalog/sqlite-catalog.ts';
import { Check, type CheckReport } from './check.ts';

/** What of the configuration of the hub says where its data is. */
type CheckedHub = {
  hub: { dataDir: string };
  blobs: { driver: string };
  catalog: { url?: string };
};

/**
 * Checks the data folder of a hub, which must not run. Only there one process sees all there is.
 * @throws ConfigError for a hub whose data is elsewhere; OpsError FOLDER_IN_USE, FOLDER_UNUSABLE;
 * errors of node:fs, BlobStoreError
 */
export async function checkHub(
  config: CheckedHub,
  options: { hash: boolean; repair: boolean },
  { signal }: { signal: AbortSignal },
): Promise<CheckReport> {
  const { dataDir } = config.hub;
  assertLocal(config);
  const catalogFile = path.join(dataDir, 'catalog.sqlite');
  await access(catalogFile);
  using lock = lockFolder(dataDir);
  void lock;
  const root = path.join(dataDir, 'registry');
  const catalog = await openSqliteCatalog({ path: catalogFile });
  try {
    const blobs = await FilesystemBlobStore.open({ root });
    try {
      const store = new KyselyCheckStore({ db: catalog.db });
      const check = new Check(options, { store, blobs, files: new StoredFiles({ root }) });
      return await check.run({ signal });
    } finally {
      await blobs.close();
    }
  } finally {
    await catalog.close();
  }
}

function refuse(key: string, message: string): never {
  throw new ConfigError('hub check', [{ path: key, message, origin: undefined }]);
}

/** Beside the database of a folder the blobs of another look as if nobody knew them. */
function assertLocal({ blobs, catalog }: CheckedHub): void {
  if (blobs.driver !== 'filesystem') refuse('blobs.driver', 'only filesystem can be checked');
  if (catalog.url !== undefined)
    refuse('catalog.url', 'only a catalog in the data folder can be checked');
}
