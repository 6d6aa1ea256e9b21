import { access } from 'node:fs/promises';
import { ConfigError, type ConfigProblem } from '../../proto/ops/errors.ts';
import { lockFolder } from '../../proto/ops/folder-lock.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { openBlobStore, openStoredFiles } from '../blobs/open-store.ts';
import type { BlobsConfig } from '../blobs/options.ts';
import { adoptBlobFolder, claimBlobFolder } from '../catalog/blob-folder.ts';
import { KyselyCheckStore } from '../catalog/check-store.ts';
import { POOL_SIZE } from '../catalog/constants.ts';
import { KyselyObjectIndex, type ObjectTables } from '../catalog/object-index.ts';
import type { OpenCatalog } from '../catalog/open-catalog.ts';
import { catalogFileIn, openConfiguredCatalog } from '../catalog/open-configured.ts';
import { postgresOf, type CatalogConfig, type PostgresSettings } from '../catalog/options.ts';
import { enterCatalog } from '../catalog/presence.ts';
import { holderOf } from '../registry/holder.ts';
import { Check, type CheckOptions, type CheckReport } from './check.ts';

/** What of the configuration of the hub says where its data is. */
type CheckedHub = {
  hub: { dataDir: string };
  blobs: { driver: string; s3?: BlobsConfig['s3'] };
  catalog: Partial<CatalogConfig>;
};

type CheckHubOptions = CheckOptions & {
  /** The data folder has the blobs of the catalog from now on; the one before is gone for good. */
  adopt?: boolean;
};

/**
 * Checks the data of a hub that does not run, wherever it is. Nobody else uses it meanwhile.
 * @throws ConfigError; OpsError FOLDER_IN_USE, FOLDER_UNUSABLE; CatalogError CATALOG_IN_USE; errors
 * of node:fs and of the database, BlobStoreError
 */
export async function checkHub(
  config: CheckedHub,
  options: CheckHubOptions,
  { signal }: { signal: AbortSignal },
): Promise<CheckReport> {
  const { dataDir } = config.hub;
  const postgres = postgresIn(config.catalog);
  if (postgres === undefined) await assertCatalog(dataDir);
  const blobs = blobsIn(config.blobs);
  await using opened = new AsyncDisposableStack();
  const inFolder = blobs.driver === 'filesystem';
  if (postgres === undefined || inFolder) opened.use(lockFolder(dataDir));
  const catalog = await openConfiguredCatalog(postgres, { dataDir });
  opened.defer(() => catalog.close());
  if (postgres !== undefined) {
    const folder = inFolder ? await holderOf(dataDir) : '';
    opened.use(await enterCatalog(catalog.db, 'check', { folder }));
    if (inFolder) await assertOwnFolder(catalog, folder, options);
  }
  const index = new KyselyObjectIndex({ db: catalog.db.withTables<ObjectTables>() });
  const files = opened.use(await openStoredFiles(blobs, { dataDir, index }));
  const reader = await openBlobStore(blobs, { dataDir, index });
  opened.defer(() => reader.close());
  const store = new KyselyCheckStore({ db: catalog.db });
  return await new Check(options, { store, blobs: reader, files }).run({ signal });
}

/** A folder that is named wrongly must not be found in order, nor get a catalog. */
async function assertCatalog(dataDir: string): Promise<void> {
  try {
    await access(catalogFileIn(dataDir));
  } catch (err) {
    if (!hasCode(err, 'ENOENT', 'ENOTDIR')) throw err;
    throw refusal(['hub.dataDir', `no hub has run with ${dataDir}: there is no catalog in it`]);
  }
}

/** Beside a catalog that several hubs reach, the blobs of another folder look as if lost. */
async function assertOwnFolder(
  { db }: Pick<OpenCatalog, 'db'>,
  own: string,
  { adopt = false }: CheckHubOptions,
): Promise<void> {
  if (adopt) return adoptBlobFolder(db, own);
  if ((await claimBlobFolder(db, own)) === own) return;
  throw refusal([
    'hub.dataDir',
    'the blobs of this catalog are in the data folder of another hub; check it there, or, if ' +
      'that folder is gone for good, add --adopt',
  ]);
}

function postgresIn(catalog: Partial<CatalogConfig>): PostgresSettings | undefined {
  const problems: [string, string][] = [];
  const whole = { tls: 'verify' as const, connections: POOL_SIZE, ...catalog };
  const postgres = postgresOf(whole, (path, message) => void problems.push([path, message]));
  if (problems.length > 0) throw refusal(...problems);
  return postgres;
}

function blobsIn({ driver, s3 }: CheckedHub['blobs']): BlobsConfig {
  if (driver === 's3' && s3 !== undefined) return { driver, s3 };
  if (driver === 'filesystem') return { driver, s3: s3 ?? NO_BUCKET };
  throw refusal(['blobs.driver', `${driver} cannot be checked`]);
}

const NO_BUCKET = { region: '', prefix: '', pathStyle: true, redirect: false };

function refusal(...problems: [string, string][]): ConfigError {
  const told = problems.map(([path, message]): ConfigProblem => {
    return { path, message, origin: undefined };
  });
  return new ConfigError('hub check', told);
}
