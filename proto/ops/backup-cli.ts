import type { ProgramInput } from './cli.ts';

/** What `backup create` was asked for. */
export type BackupCreateWish = ProgramInput & {
  to: string;
  incremental: boolean;
  catalogOnly: boolean;
  includeKeys: boolean;
  url: string | undefined;
};

export type BackupVerifyWish = { folder: string; quick: boolean; json: boolean };

/** What `backup restore` was asked for; names of files as they were given. */
export type BackupRestoreWish = ProgramInput & {
  folder: string;
  dataDir: string | undefined;
  keepRights: boolean;
  rightsFrom: string | undefined;
  purged: string | undefined;
  keys: string | undefined;
  newKeys: boolean;
  replace: boolean;
};

/** A report for people, and whether all is well. */
export type BackupOutcome = { text: string; clean: boolean };

export type BackupCliModules = {
  create: (wish: BackupCreateWish) => Promise<BackupOutcome>;
  verify: (wish: BackupVerifyWish) => Promise<BackupOutcome>;
  restore: (wish: BackupRestoreWish) => Promise<BackupOutcome>;
};

const SHARED = {
  config: { type: 'string', short: 'c' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Options of each word. */
export const BACKUP_OPTIONS = {
  create: {
    ...SHARED,
    to: { type: 'string' },
    incremental: { type: 'boolean', default: false },
    'catalog-only': { type: 'boolean', default: false },
    'include-keys': { type: 'boolean', default: false },
    url: { type: 'string' },
  },
  verify: {
    ...SHARED,
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
  restore: {
    ...SHARED,
    'data-dir': { type: 'string' },
    'keep-rights': { type: 'boolean', default: false },
    'rights-from': { type: 'string' },
    purged: { type: 'string' },
    keys: { type: 'string' },
    'new-keys': { type: 'boolean', default: false },
    replace: { type: 'boolean', default: false },
  },
} as const;
