import { open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { nodeFolderOps, type FolderOps } from '../../proto/std/durable-folder.ts';

/** The calls of an open file that the driver makes; those of node:fs/promises. */
export interface StoreFile {
  writev(slices: readonly Uint8Array[], position: number): Promise<{ bytesWritten: number }>;
  read(
    into: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }>;
  stat(): Promise<{ size: number }>;
  truncate(size: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** The calls by which the filesystem driver reads and changes the disk. */
export interface FileOps extends FolderOps {
  /** Creates a new file for reading and writing; fails when the path exists. */
  create(path: string): Promise<StoreFile>;
  open(path: string): Promise<StoreFile>;
  /** Opens a file that is there for reading and writing. */
  reopen(path: string): Promise<StoreFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  list(path: string): Promise<string[]>;
  size(path: string): Promise<number>;
  /** When the bytes of the file were last changed, Unix time in ms. */
  changedMs(path: string): Promise<number>;
}

const FILE_MODE = 0o640;

/** The real disk. */
export const nodeFileOps: FileOps = {
  ...nodeFolderOps,
  create: (path) => open(path, 'wx+', FILE_MODE),
  open: (path) => open(path, 'r'),
  reopen: (path) => open(path, 'r+'),
  rename: (from, to) => rename(from, to),
  // Unlike rm, it says when another call was first.
  remove: (path) => unlink(path),
  list: (path) => readdir(path),
  async size(path) {
    return (await stat(path)).size;
  },
  async changedMs(path) {
    return (await stat(path)).mtimeMs;
  },
};
