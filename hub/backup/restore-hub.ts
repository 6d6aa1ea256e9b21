import { chmod, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { isDigest, type Digest } from '../../proto/oci/digest.ts';
import { claimFolder } from '../../proto/ops/folder-lock.ts';
import { makeDurableFolder, nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { counted } from '../../proto/std/counted.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { openBlobStore } from '../blobs/open-store.ts';
import type { BlobStore } from '../blobs/port.ts';
import { KyselyFleetStore, type FleetTables } from '../catalog/fleet-store.ts';
import { KyselyGcStore } from '../catalog/gc-store.ts';
import { KyselyObjectIndex, type ObjectTables } from '../catalog/object-index.ts';
import { poolOptionsOf } from '../catalog/pool-options.ts';
import { openPostgresTables } from '../catalog/postgres-catalog.ts';
import type { RestoredTables } from '../catalog/restored-tables.ts';
import { openSqliteTables } from '../catalog/sqlite-catalog.ts';
import { saveKeyRing } from '../fleet/key-files.ts';
import { checkedOptions, type HubConfig } from '../options.ts';
import { BackupError, damaged } from './errors.ts';
import { BackupFolder, exists } from './folder.ts';
import type { BackupManifest } from './manifest.ts';
import type { Progress } from './progress.ts';
import { markerIn, removeMarker, setMarker, unfinished } from './restore-marker.ts';
import { RestoredBlobs, type BlobCounts } from './restored-blobs.ts';
import { findRing, restartRing, sealRing, type RingSource } from './restored-keys.ts';
import { RestoredRights, type LockedRights, type RightsPolicy } from './restored-rights.ts';
import { purgedOf } from './rows-of.ts';
import { RowReader } from './rows.ts';
import { checkCatalog, Verification } from './verify.ts';

const CATALOG = 'catalog.sqlite';
const RESTORING = 'catalog.sqlite.restoring';
const PRIVATE_FOLDER_MODE = 0o700;

export type RestoreOptions = {
  /** The folder of the backup. */
  from: string;
  policy: RightsPolicy;
  /** A newer backup of the same hub, whose rights and memberships count. */
  rightsFrom?: string | undefined;
  /** What was taken down since the backup. */
  purged: readonly Digest[];
  /** PEM of the fleet's keys. */
  keyRing?: string | undefined;
  newKeys: boolean;
  /** Move what the data folder has out of the way. */
  replace: boolean;
};

export type RestoreReport = {
  manifest: BackupManifest;
  blobs: BlobCounts;
  locked: LockedRights;
  keys: RingSource;
  /** Digests that stay taken down. */
  purged: readonly string[];
};

type Source = { folder: BackupFolder; manifest: BackupManifest };
type RestoredHub = Pick<HubConfig, 'hub' | 'blobs' | 'catalog'> &
  Parameters<typeof checkedOptions>[0];

/**
 * Puts a backup into the place of a hub that does not run: a composition root. Interrupted, the
 * same call goes on; until it is done no hub starts in that data folder.
 * @throws BackupError; ConfigError; CatalogError; BlobStoreError; OpsError FOLDER_IN_USE,
 *   FOLDER_UNUSABLE; errors of node:fs
 */
export async function restoreHub(
  config: RestoredHub,
  options: RestoreOptions,
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<RestoreReport> {
  const { dataDir } = config.hub;
  const content = await sourceOf(options.from, progress);
  const rights =
    options.rightsFrom === undefined ? content : await sourceOf(options.rightsFrom, progress);
  assertSameFleet(content, rights);
  using lock = await claimFolder(dataDir, 'hub.dataDir', makeDurableFolder);
  void lock;
  const nowMs = Date.now();
  const keysDir = path.join(dataDir, 'keys');
  const ring = await findRing(
    { keysDir, given: options.keyRing, newKeys: options.newKeys, sealedWith: sealingFiles(config) },
    rights,
  );
  const resumed = await beginIn(config, content, options);
  const tables = await openTables(config, resumed);
  try {
    await assertEmpty(tables, config, resumed);
    await setMarker(dataDir, content.manifest.catalog.sha256);
    await tables.prepare(content.manifest.schema);
    const purged = new Set<string>([
      ...(await purgedIn(rights)),
      ...rights.manifest.withdrawn,
      ...options.purged,
    ]);
    const parts = { content, rights, purged, tables, progress };
    const counts = await restoreBlobs(config, parts, signal);
    const policy = options.rightsFrom === undefined ? options.policy : 'kept';
    const backupMs = Date.parse(rights.manifest.time);
    const changes = new RestoredRights({
      policy,
      nowMs,
      backupMs,
      newFleet: ring.source === 'new',
    });
    await fill(parts, changes);
    await takeDown(parts, nowMs);
    restartRing(ring, { policy, nowMs, backupMs });
    const { encryptionKeyFile } = config.fleet.keys;
    if (encryptionKeyFile !== undefined) {
      const store = new KyselyFleetStore({ db: tables.db.withTables<FleetTables>() });
      await sealRing(ring.ring, encryptionKeyFile, store);
    }
    await tables.close();
    if (config.catalog.url === undefined) await putInPlace(dataDir);
    if (encryptionKeyFile === undefined) {
      if (await makeDurableFolder(keysDir)) await chmod(keysDir, PRIVATE_FOLDER_MODE);
      await saveKeyRing(keysDir, ring.ring);
    }
    await removeMarker(dataDir);
    const { manifest } = content;
    const keys = ring.source;
    return { manifest, blobs: counts, locked: changes.locked, keys, purged: [...purged] };
  } finally {
    await tables.close();
  }
}

/** Files of the keys that the ring in the catalog is or was encrypted under. */
function sealingFiles({ fleet: { keys } }: RestoredHub): string[] {
  const { encryptionKeyFile, previousEncryptionKeyFile } = keys;
  return [encryptionKeyFile, previousEncryptionKeyFile].filter((file) => file !== undefined);
}

type Parts = {
  content: Source;
  rights: Source;
  purged: ReadonlySet<string>;
  tables: RestoredTables;
  progress: Progress;
};

/** @throws BackupError for a backup that is not whole */
async function sourceOf(place: string, progress: Progress): Promise<Source> {
  const folder = new BackupFolder({ path: place });
  const manifest = await folder.manifest();
  await checkCatalog(folder, manifest);
  progress.say(`${place}: backup of ${manifest.fleetId} as of ${manifest.time}`);
  return { folder, manifest };
}

function assertSameFleet({ manifest: content }: Source, { manifest: rights }: Source): void {
  const { fleetId } = content;
  if (rights.fleetId !== fleetId) {
    throw new BackupError(`one backup is of ${fleetId}, the other of ${rights.fleetId}`, {
      code: 'FLEET_OTHER',
      found: rights.fleetId,
      fleetId,
    });
  }
  if (Date.parse(rights.time) >= Date.parse(content.time)) return;
  throw new BackupError(
    `the backup with the rights is older, as of ${rights.time}, than that of ${content.time}`,
    { code: 'RIGHTS_OLDER' },
  );
}

/** Before anything is changed: whether all blobs are there, by their sizes. */
async function assertWhole({ folder, manifest }: Source, progress: Progress, signal: AbortSignal) {
  const report = await new Verification({ hash: false }, { folder, progress }).run({ signal });
  const lost = manifest.blobs?.missing.length ?? 0;
  const [first = ''] = report.problems;
  if (report.found > lost) throw damaged(`${first}; ${counted(report.found, 'problem')} in all`);
}

/** True when this goes on with an earlier attempt. */
async function beginIn(
  { hub: { dataDir }, blobs, catalog }: RestoredHub,
  { manifest }: Source,
  { replace }: RestoreOptions,
): Promise<boolean> {
  const marker = await markerIn(dataDir);
  if (marker === manifest.catalog.sha256) return true;
  if (marker !== undefined) {
    throw unfinished(dataDir, 'restore that one again, or remove the folder');
  }
  const registry = path.join(dataDir, 'registry');
  // Blobs that outlived their catalog are what a backup of the catalog alone is for.
  const isBlobFree = manifest.blobs === undefined || blobs.driver !== 'filesystem';
  const there = [
    ...(catalog.url === undefined && (await exists(path.join(dataDir, CATALOG))) ? [CATALOG] : []),
    ...(!isBlobFree && (await hasEntries(path.join(registry, 'blobs'))) ? ['registry'] : []),
  ];
  if (there.length === 0) return false;
  if (!replace) {
    throw new BackupError(
      `${dataDir} has ${there.join(' and ')}; name another --data-dir, or move them out of the ` +
        'way with --replace',
      { code: 'TARGET_NOT_EMPTY', folder: dataDir },
    );
  }
  await moveAside(dataDir, there);
  return false;
}

async function moveAside(dataDir: string, names: readonly string[]): Promise<void> {
  const aside = path.join(dataDir, `replaced-${new Date().toISOString().replaceAll(':', '')}`);
  await mkdir(aside, { mode: PRIVATE_FOLDER_MODE });
  const all = names.flatMap((name) =>
    name === CATALOG ? [name, `${name}-wal`, `${name}-shm`] : [name],
  );
  for (const name of all) {
    const from = path.join(dataDir, name);
    // oxlint-disable-next-line no-await-in-loop -- a few names
    if (await exists(from)) await rename(from, path.join(aside, name));
  }
  // That they are gone from the data folder lasts with the marker.
  await nodeFolderOps.syncFolder(aside);
}

async function hasEntries(folder: string): Promise<boolean> {
  try {
    const names = await readdir(folder, { recursive: true, withFileTypes: true });
    return names.some((entry) => entry.isFile());
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return false;
    throw err;
  }
}

async function openTables(config: RestoredHub, resumed: boolean): Promise<RestoredTables> {
  const { postgres } = checkedOptions(config);
  if (postgres !== undefined) return openPostgresTables(await poolOptionsOf(postgres));
  const file = path.join(config.hub.dataDir, RESTORING);
  if (!resumed) {
    for (const name of [file, `${file}-wal`, `${file}-shm`]) await rm(name, { force: true });
  }
  return openSqliteTables({ path: file });
}

async function assertEmpty(
  tables: RestoredTables,
  { catalog, hub }: RestoredHub,
  resumed: boolean,
): Promise<void> {
  if (resumed || catalog.url === undefined || (await tables.isEmpty())) return;
  throw new BackupError('the database of catalog.url is in use; make a new one', {
    code: 'TARGET_NOT_EMPTY',
    folder: hub.dataDir,
  });
}

/** What was taken down when the backup was made. */
async function purgedIn({ folder, manifest }: Source): Promise<Digest[]> {
  const reader = new RowReader(folder.read(manifest.catalog.file));
  await reader.head();
  const digests: Digest[] = [];
  for await (const page of reader.pages()) {
    if (page.table === 'blob') break;
    digests.push(...purgedOf(page));
  }
  return digests;
}

async function restoreBlobs(
  { blobs, hub: { dataDir } }: RestoredHub,
  { content, purged, tables, progress }: Parts,
  signal: AbortSignal,
): Promise<BlobCounts> {
  const { folder, manifest } = content;
  await assertWhole(content, progress, signal);
  const index = new KyselyObjectIndex({ db: tables.db.withTables<ObjectTables>() });
  const store = await openBlobStore(blobs, { dataDir, index });
  try {
    const isIndexed = blobs.driver !== 'filesystem';
    const restored = new RestoredBlobs(
      { manifest, without: purged, prefix: blobs.s3.prefix },
      { folder, store, index: isIndexed ? index : undefined, progress },
    );
    await restored.run({ signal });
    await removePurged(store, purged);
    return restored.counts;
  } finally {
    await store.close();
  }
}

async function removePurged(store: BlobStore, purged: ReadonlySet<string>): Promise<void> {
  for (const digest of purged) {
    // oxlint-disable-next-line no-await-in-loop -- a list that is short as a rule
    if (isDigest(digest)) await store.remove(digest);
  }
}

/** Each backup's rows go into tables of its version; then all are brought to the newest. */
async function fill(
  { content, rights, tables, progress }: Parts,
  changes: RestoredRights,
): Promise<void> {
  progress.say('catalog');
  const rows = new RowReader(content.folder.read(content.manifest.catalog.file));
  await rows.head();
  await tables.fill(rows.pages(), 'content');
  if (rights !== content) await tables.prepare(rights.manifest.schema);
  const given = new RowReader(rights.folder.read(rights.manifest.catalog.file));
  await given.head();
  await tables.fill(changes.pages(given.pages()), 'rights');
  await tables.finish();
}

async function takeDown({ tables, purged }: Parts, nowMs: number): Promise<void> {
  const store = new KyselyGcStore({ db: tables.db, manifestsChanged: () => {} });
  for (const digest of purged) {
    if (!isDigest(digest)) continue;
    await store.purge(digest, nowMs);
    await store.forgetPurged(digest);
  }
}

/** The catalog is there from one moment to the next. */
export async function putInPlace(dataDir: string): Promise<void> {
  const file = path.join(dataDir, RESTORING);
  await using handle = await open(file, 'r+');
  await handle.sync();
  await rename(file, path.join(dataDir, CATALOG));
  await nodeFolderOps.syncFolder(dataDir);
}
