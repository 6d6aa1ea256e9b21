import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { hasCode, messageOf } from '../std/errors.ts';
import { OpsError } from './errors.ts';

const LOCK_FILE = 'lock';
const SQLITE_BUSY = 5;

/**
 * Takes a folder for this process until disposed or until the process ends, however it ends. The
 * lock is SQLite's own on a file of its own: the kernel gives it back when a process is killed.
 *
 * @throws OpsError FOLDER_IN_USE when another process has it; errors of the file system
 */
export function lockFolder(folder: string): Disposable {
  const database = openLock(folder);
  try {
    // A journal on disk would need room, and what finds the disk full has to start to make some.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (err) {
    database.close();
    if (!isBusy(err)) throw err;
    const text =
      `${folder} is in use by another process; ` +
      'stop that one, or give this one a data folder of its own';
    throw new OpsError(text, { code: 'FOLDER_IN_USE', folder }, { cause: err });
  }
  return { [Symbol.dispose]: () => database.close() };
}

/**
 * Makes a data folder and takes it; `setting` is the key that names it.
 * @throws OpsError FOLDER_UNUSABLE, FOLDER_IN_USE; errors of the file system
 */
export async function claimFolder(
  folder: string,
  setting: string,
  make: (folder: string) => Promise<unknown>,
): Promise<Disposable> {
  try {
    await make(folder);
  } catch (err) {
    const text = `${folder} cannot be made; set ${setting} to a folder this user can write`;
    throw new OpsError(text, { code: 'FOLDER_UNUSABLE', folder }, { cause: err });
  }
  return lockFolder(folder);
}

function openLock(folder: string): DatabaseSync {
  const file = path.join(folder, LOCK_FILE);
  try {
    return new DatabaseSync(file, { timeout: 0 });
  } catch (err) {
    const text = `cannot write to ${file}: ${messageOf(err)}; see who owns the folder`;
    throw new OpsError(text, { code: 'FOLDER_UNUSABLE', folder }, { cause: err });
  }
}

function isBusy(err: unknown): boolean {
  return hasCode(err, 'ERR_SQLITE_ERROR') && Object(err).errcode === SQLITE_BUSY;
}
