import { mkdir, open, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { hasCode } from './errors.ts';

const FOLDER_MODE = 0o750;

/** How folders are made, and made to last. */
export type FolderOps = {
  /** Creates one folder; true when it did not exist. The parent must exist. */
  makeFolder(path: string): Promise<boolean>;
  /** Makes the names in a folder durable. */
  syncFolder(path: string): Promise<void>;
};

/** The real disk. */
export const nodeFolderOps: FolderOps = {
  async makeFolder(path) {
    try {
      await mkdir(path, { mode: FOLDER_MODE });
      return true;
    } catch (err) {
      if (hasCode(err, 'EEXIST') && (await stat(path)).isDirectory()) return false;
      throw err;
    }
  },
  async syncFolder(path) {
    await using folder = await open(path, 'r');
    await folder.sync();
  },
};

/**
 * Makes a folder and those above it that are missing, so that all of them survive a power cut.
 * Names above it are synced even if they exist: a process that was killed may have made them and
 * not have come to its own sync. True when the folder did not exist.
 * @throws errors of node:fs
 */
export async function makeDurableFolder(
  path: string,
  ops: FolderOps = nodeFolderOps,
): Promise<boolean> {
  const folder = resolve(path);
  const parent = dirname(folder);
  if (parent === folder) return false;
  let made = false;
  try {
    made = await ops.makeFolder(folder);
    await makeDurableFolder(parent, ops);
  } catch (err) {
    if (made || !hasCode(err, 'ENOENT')) throw err;
    await makeDurableFolder(parent, ops);
    made = await ops.makeFolder(folder);
  }
  try {
    await ops.syncFolder(parent);
  } catch (err) {
    // A folder of others, that this process may not open and has not changed.
    if (made || !hasCode(err, 'EACCES', 'EPERM', 'EROFS', 'EINVAL')) throw err;
  }
  return made;
}
