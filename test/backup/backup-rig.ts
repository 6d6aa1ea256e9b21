// Makes, checks and restores backups of hubs on loopback.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { BackupClient } from '../../hub/backup/client.ts';
import { Backup, type BackupOptions, type BackupReport } from '../../hub/backup/create.ts';
import { BackupFolder } from '../../hub/backup/folder.ts';
import { Progress } from '../../hub/backup/progress.ts';
import {
  restoreHub,
  type RestoreOptions,
  type RestoreReport,
} from '../../hub/backup/restore-hub.ts';
import { Verification, type VerifyReport } from '../../hub/backup/verify.ts';
import { checkHub } from '../../hub/check/check-hub.ts';
import type { CheckReport } from '../../hub/check/check.ts';
import { HubOptions, type HubConfig } from '../../hub/options.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { ADMIN } from '../registry/test-hub.ts';

export const { signal: never } = new AbortController();
export const progress = new Progress({ tell: () => {} });

/** An empty folder that goes with the test. */
export async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-backup-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export function clientOf({ url }: { url: string }): BackupClient {
  return new BackupClient({ url, ...ADMIN });
}

export function backup(
  hub: { url: string },
  to: string,
  options: Partial<BackupOptions> & {
    signal?: AbortSignal;
    client?: BackupClient;
    tell?: (text: string) => void;
  } = {},
): Promise<BackupReport> {
  const { signal = never, client = clientOf(hub), tell = () => {}, ...rest } = options;
  const folder = new BackupFolder({ path: to });
  const modules = { client, folder, progress: new Progress({ tell }) };
  return new Backup({ incremental: false, catalogOnly: false, ...rest }, modules).run({ signal });
}

export function verify(folder: string, hash = true): Promise<VerifyReport> {
  const modules = { folder: new BackupFolder({ path: folder }), progress };
  return new Verification({ hash }, modules).run({ signal: never });
}

export function configOf(dataDir: string, sections: Record<string, object> = {}): HubConfig {
  const text = JSON.stringify({ ...sections, hub: { dataDir } });
  return loadConfig(HubOptions, { text, env: {} });
}

export function restore(
  from: string,
  dataDir: string,
  options: Partial<RestoreOptions> & { sections?: Record<string, object> } = {},
): Promise<RestoreReport> {
  const { sections, ...rest } = options;
  const wish: RestoreOptions = {
    from,
    policy: 'locked',
    purged: [],
    newKeys: false,
    replace: false,
    ...rest,
  };
  return restoreHub(configOf(dataDir, sections), wish, { progress, signal: never });
}

/** What `hub check --hash` says. */
export function check(dataDir: string): Promise<CheckReport> {
  return checkHub(configOf(dataDir), { hash: true, repair: false }, { signal: never });
}
