import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';

/** The calls by which the filesystem driver changes the disk: one place to watch their order. */
export interface FileOps {
  /** Creates a new file for reading and writing; fails when the path exists. */
  create(path: string): Promise<FileHandle>;
  open(path: string): Promise<FileHandle>;
  sync(file: FileHandle): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Makes the names in a folder durable. */
  syncFolder(path: string): Promise<void>;
  /** Creates one folder; true when it did not exist. The parent must exist. */
  makeFolder(path: string): Promise<boolean>;
  remove(path: string): Promise<void>;
  list(path: string): Promise<string[]>;
  size(path: string): Promise<number>;
}

const FILE_MODE = 0o640;
const FOLDER_MODE = 0o750;

/** The real disk. */
export const nodeFileOps: FileOps = {
  create: (path) => open(path, 'wx+', FILE_MODE),
  open: (path) => open(path, 'r'),
  sync: (file) => file.sync(),
  rename: (from, to) => rename(from, to),
  async syncFolder(path) {
    await using folder = await open(path, 'r');
    await folder.sync();
  },
  async makeFolder(path) {
    try {
      await mkdir(path, { mode: FOLDER_MODE });
      return true;
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw err;
    }
  },
  remove: (path) => rm(path),
  list: (path) => readdir(path),
  async size(path) {
    return (await stat(path)).size;
  },
};
