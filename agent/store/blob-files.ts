import { mkdir, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { encodeBitmap } from './bitmap-file.ts';
import { BITMAP_FILE, DATA_FILE, META_FILE } from './blob-paths.ts';
import type { BlobPaths } from './blob-paths.ts';
import { DEFAULT_QUOTA_SHARE } from './constants.ts';
import { storeErrorOf } from './errors.ts';
import { replaceFile } from './files.ts';
import { encodeMeta } from './meta-file.ts';
import type { CreateBlob } from './port.ts';

export type NewBlob = { folder: string; facts: CreateBlob; have: ChunkBitmap; bootId: string };

/**
 * Makes the folder of a blob: data, bitmap, and last the facts, without which it is no blob.
 * @throws StoreError DISK_FULL, IO, leaving nothing behind
 */
export async function layDown(
  blob: NewBlob,
  paths: BlobPaths,
  placeData: (path: string) => Promise<void>,
): Promise<void> {
  const { folder, facts, have, bootId } = blob;
  try {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await placeData(join(folder, DATA_FILE));
    const pending = new ChunkBitmap(have.size);
    const bitmap = encodeBitmap({ have, pending, bootId, clean: false });
    await replaceFile(join(folder, BITMAP_FILE), paths.temporary(), bitmap);
    await replaceFile(join(folder, META_FILE), paths.temporary(), encodeMeta(facts));
  } catch (err) {
    await rm(folder, { recursive: true, force: true });
    throw storeErrorOf(err, folder);
  }
}

/** A new file of `size` bytes that takes no room yet. */
export async function makeSparse(path: string, size: number): Promise<void> {
  const file = await open(path, 'wx+', 0o600);
  try {
    await file.truncate(size);
  } finally {
    await file.close();
  }
}

/** DEFAULT_QUOTA_SHARE of what is free or in use by us already. */
export async function defaultQuota(root: string, heldBytes: number): Promise<number> {
  const { bavail, bsize } = await statfs(root);
  return Math.floor((bavail * bsize + heldBytes) * DEFAULT_QUOTA_SHARE);
}

/** Deletes the folder of a blob. Facts first: without them the folder is no blob. */
export async function removeBlobFolder(folder: string): Promise<void> {
  await rm(join(folder, META_FILE), { force: true });
  await rm(folder, { recursive: true, force: true });
}
