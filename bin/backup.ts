import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { BackupClient } from '../hub/backup/client.ts';
import { Backup, type BackupReport } from '../hub/backup/create.ts';
import { BackupFolder } from '../hub/backup/folder.ts';
import { Progress, roundBytes } from '../hub/backup/progress.ts';
import { restoreHub, type RestoreReport } from '../hub/backup/restore-hub.ts';
import { formatVerification, Verification } from '../hub/backup/verify.ts';
import { KEY_RING_FILE } from '../hub/fleet/key-files.ts';
import { HubOptions } from '../hub/options.ts';
import { parseDigest, type Digest } from '../proto/oci/digest.ts';
import type {
  BackupCreateWish,
  BackupOutcome,
  BackupRestoreWish,
  BackupVerifyWish,
} from '../proto/ops/backup-cli.ts';
import { loadConfig } from '../proto/ops/config.ts';
import { ConfigError } from '../proto/ops/errors.ts';
import { counted } from '../proto/std/counted.ts';
import { hasCode } from '../proto/std/errors.ts';
import { withTarget } from './admin.ts';

type Surroundings = {
  env: Record<string, string | undefined>;
  /** Progress, a line at a time. */
  tell: (text: string) => void;
};

/**
 * Makes a backup of the running hub of this configuration, as its administrator.
 * @throws ConfigError; AdminError; BackupError; errors of node:fs
 */
export async function createBackup(
  { to, incremental, catalogOnly, includeKeys, url, ...input }: BackupCreateWish,
  { env, tell }: Surroundings,
): Promise<BackupOutcome> {
  const config = loadConfig(HubOptions, { ...input, env, kind: 'hub' });
  const keyRing = includeKeys ? await ringOf(config.hub.dataDir) : undefined;
  const folder = new BackupFolder({ path: to });
  const report = await withTarget(config, url, (target) => {
    const modules = { client: new BackupClient(target), folder, progress: new Progress({ tell }) };
    return new Backup({ incremental, catalogOnly, keyRing }, modules).run({ signal: stopped() });
  });
  const clean = (report.manifest.blobs?.missing ?? []).length === 0;
  return { text: formatBackup(to, report), clean };
}

/** Reads a backup and tells what is wrong with it. @throws errors of node:fs */
export async function verifyBackup(
  { folder: place, quick, json }: BackupVerifyWish,
  { tell }: Surroundings,
): Promise<BackupOutcome> {
  const modules = { folder: new BackupFolder({ path: place }), progress: new Progress({ tell }) };
  const report = await new Verification({ hash: !quick }, modules).run({ signal: stopped() });
  const text = json ? `${JSON.stringify(report, undefined, 2)}\n` : formatVerification(report);
  return { text, clean: report.found === 0 };
}

/**
 * Puts a backup into the place of the hub of this configuration, which must not run.
 * @throws ConfigError; BackupError; CatalogError; BlobStoreError; OpsError; errors of node:fs
 */
export async function restoreBackup(
  wish: BackupRestoreWish,
  { env, tell }: Surroundings,
): Promise<BackupOutcome> {
  const { folder: from, dataDir, keepRights, rightsFrom, purged, keys, newKeys, replace } = wish;
  const { text, source } = wish;
  const input = {
    ...(text === undefined ? {} : { text }),
    ...(source === undefined ? {} : { source }),
  };
  const config = loadConfig(HubOptions, { ...input, env, kind: 'hub' });
  const report = await restoreHub(
    { ...config, hub: { ...config.hub, dataDir: dataDir ?? config.hub.dataDir } },
    {
      from,
      policy: keepRights ? 'kept' : 'locked',
      rightsFrom,
      purged: purged === undefined ? [] : digestsIn(await readFile(purged, 'utf8')),
      keyRing: keys === undefined ? undefined : await readFile(keys, 'utf8'),
      newKeys,
      replace,
    },
    { progress: new Progress({ tell }), signal: stopped() },
  );
  const isSealed = config.fleet.keys.encryptionKeyFile !== undefined;
  return { text: formatRestore(report, { ...wish, isSealed }), clean: true };
}

/** @throws ConfigError when it is not there; errors of node:fs */
async function ringOf(dataDir: string): Promise<string> {
  const ring = path.join(dataDir, 'keys', KEY_RING_FILE);
  try {
    return await readFile(ring, 'utf8');
  } catch (err) {
    if (!hasCode(err, 'ENOENT', 'ENOTDIR')) throw err;
    const message =
      `there is no ${ring} for --include-keys: use the configuration of the hub that has it; ` +
      'with fleet.keys.encryptionKeyFile leave the option out and keep that file, since the keys ' +
      'are in every backup, encrypted under it';
    throw new ConfigError('backup', [{ path: 'hub.dataDir', message, origin: undefined }]);
  }
}

function stopped(): AbortSignal {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  return stop.signal;
}

/** @throws OciError DIGEST_INVALID */
function digestsIn(text: string): Digest[] {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  return lines.filter((line) => line !== '').map(parseDigest);
}

function formatBackup(to: string, { manifest, copied, copiedBytes }: BackupReport): string {
  const { blobs, time, keys } = manifest;
  const lines = (blobs?.missing ?? []).map(
    (digest) => `missing: ${digest}: the hub has lost it; push it again`,
  );
  const content =
    blobs === undefined
      ? 'the catalog only'
      : `${counted(blobs.count, 'blob')}, ${roundBytes(blobs.bytes)}, ` +
        `of which ${copied} were copied, ${roundBytes(copiedBytes)}`;
  lines.push(`${to}: as of ${time}, ${content}`);
  if (keys === undefined) {
    lines.push('keep keys/key-ring.pem too, or the file of fleet.keys.encryptionKeyFile');
  }
  return `${lines.join('\n')}\n`;
}

function formatRestore(
  report: RestoreReport,
  wish: BackupRestoreWish & { isSealed: boolean },
): string {
  const { manifest, blobs, locked, keys, purged } = report;
  const { time } = manifest;
  const lines = [
    `restored as of ${time}: ${counted(blobs.stored + blobs.there, 'blob')}; ` +
      'what came later is not there',
    'join tokens and logins of before have ended: make new ones, log in again',
  ];
  if (keys === 'new') lines.push('the fleet begins anew: every node joins it again');
  if (wish.isSealed && keys === 'data folder') {
    lines.push('the keys are in the catalog, encrypted: move keys/key-ring.pem to a safe place');
  }
  if (wish.keepRights) {
    lines.push(
      `warning: rights are as of ${time}: accounts, robots, nodes and keys that were disabled, ` +
        'deleted or revoked later are good again; end them again',
    );
  }
  if (wish.rightsFrom === undefined && !wish.keepRights) {
    lines.push('rights are locked, since it is not known what was ended later:');
    const names = (title: string, list: readonly string[], remedy: string): void => {
      if (list.length > 0) lines.push(`  ${title}: ${list.join(', ')} (${remedy})`);
    };
    names('accounts disabled', locked.accounts, 'flotilla account enable NAME');
    names('robots disabled', locked.robots, 'flotilla robot enable PROJECT NAME');
    names('projects hidden', locked.projects, 'flotilla project publish NAME');
    if (locked.nodes > 0) lines.push('  nodes join again (flotilla hub join-token create)');
  }
  if (wish.rightsFrom === undefined) {
    lines.push(`what was taken down after ${time} is here again (flotilla purge DIGEST)`);
  }
  if (purged.length > 0) lines.push(`taken down, and stays so: ${purged.join(', ')}`);
  return `${lines.join('\n')}\n`;
}
