import { rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { hasCode, messageOf } from '../std/errors.ts';
import { LOCK_FILE_TRIES_MAX } from './constants.ts';
import { OpsError } from './errors.ts';

const LOCK_FILE = 'lock';
const SQLITE_BUSY = 5;
const LOCK_FILE_MODE = 0o600;

/**
 * Takes a folder for this process until disposed or until the process ends, however it ends. The
 * lock is SQLite's own on a file of its own: the kernel gives it back when a process is killed.
 *
 * @throws OpsError FOLDER_IN_USE when another process has it; errors of the file system
 */
export function lockFolder(folder: string): Disposable {
  const file = path.join(folder, LOCK_FILE);
  const lock = locked(file, folder);
  if (lock !== undefined) return lock;
  const text =
    `${folder} is in use by another process; ` +
    'stop that one, or give this one a data folder of its own';
  throw new OpsError(text, { code: 'FOLDER_IN_USE', folder });
}

/**
 * Takes a lock of which nothing stays: its file goes when it is given back. A process that is
 * killed leaves the file, free to be taken. undefined when another process has it.
 * @throws OpsError FOLDER_UNUSABLE; errors of the file system
 */
export async function takeLockFile(file: string): Promise<AsyncDisposable | undefined> {
  for (let tries = 0; tries < LOCK_FILE_TRIES_MAX; tries += 1) {
    // oxlint-disable-next-line no-await-in-loop -- the next try is for when this one failed
    const before = await madeLockFile(file);
    const lock = locked(file, path.dirname(file));
    if (lock === undefined) return undefined;
    // A file that its holder has removed meanwhile can be locked, and keeps nobody out.
    // oxlint-disable-next-line no-await-in-loop -- the next try is for when this one failed
    if (before !== undefined && before === (await inodeOf(file))) return removing(file, lock);
    lock[Symbol.dispose]();
  }
  return undefined;
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

/** undefined: another process has it. */
function locked(file: string, folder: string): Disposable | undefined {
  const database = openLock(file, folder);
  try {
    // A journal on disk would need room, and what finds the disk full has to start to make some.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (err) {
    database.close();
    if (!isBusy(err)) throw err;
    return undefined;
  }
  return { [Symbol.dispose]: () => database.close() };
}

function openLock(file: string, folder: string): DatabaseSync {
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

/** Never opens a file that is there: to close it would end a lock that this process has on it. */
async function madeLockFile(file: string): Promise<bigint | undefined> {
  try {
    await writeFile(file, '', { flag: 'wx', mode: LOCK_FILE_MODE });
  } catch (err) {
    if (!hasCode(err, 'EEXIST')) throw err;
  }
  return inodeOf(file);
}

async function inodeOf(file: string): Promise<bigint | undefined> {
  try {
    return (await stat(file, { bigint: true })).ino;
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return undefined;
    throw err;
  }
}

function removing(file: string, lock: Disposable): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => {
      // While it is held, so that nobody else's is removed; one that stays is free to be taken.
      await rm(file, { force: true }).catch(() => undefined);
      lock[Symbol.dispose]();
    },
  };
}
