import { open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { BackupError } from './errors.ts';

/** In the data folder of a hub while a backup is put into it: which one. */
const MARKER = 'restore-unfinished';
const FILE_MODE = 0o600;

/** @throws BackupError RESTORE_UNFINISHED in a data folder that has a part of a backup */
export async function assertRestored(dataDir: string): Promise<void> {
  if ((await markerIn(dataDir)) !== undefined) throw unfinished(dataDir, 'restore it again');
}

/** The backup that is being put into the folder; undefined for none. */
export async function markerIn(dataDir: string): Promise<string | undefined> {
  try {
    return await readFile(path.join(dataDir, MARKER), 'utf8');
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return undefined;
    throw err;
  }
}

export async function setMarker(dataDir: string, backup: string): Promise<void> {
  await using file = await open(path.join(dataDir, MARKER), 'w', FILE_MODE);
  await file.writeFile(backup);
  await file.sync();
  await nodeFolderOps.syncFolder(dataDir);
}

export async function removeMarker(dataDir: string): Promise<void> {
  await rm(path.join(dataDir, MARKER), { force: true });
  await nodeFolderOps.syncFolder(dataDir);
}

export function unfinished(folder: string, remedy: string): BackupError {
  return new BackupError(`a backup was not restored to its end in ${folder}; ${remedy}`, {
    code: 'RESTORE_UNFINISHED',
    folder,
  });
}
