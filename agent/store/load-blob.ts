import { lstatSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { layoutOf } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { decodeBitmap } from './bitmap-file.ts';
import { BITMAP_FILE, DATA_FILE, META_FILE } from './blob-paths.ts';
import { BITMAP_FILE_MAX_BYTES, META_MAX_BYTES } from './constants.ts';
import { isMissing, readBounded, readBoundedNow } from './files.ts';
import type { FsBlobState } from './fs-blob.ts';
import { decodeMeta } from './meta-file.ts';
import type { CreateBlob } from './port.ts';

export type LoadedBlob = { facts: CreateBlob; state: FsBlobState };

type FileFacts = { size: number; blocks: number; mtimeMs: number; isFile: boolean };
type Raw = { meta: Buffer | undefined; bitmap: Buffer | undefined; data: FileFacts };

const ABSENT: FileFacts = { size: 0, blocks: 0, mtimeMs: 0, isFile: false };

/**
 * Reads the facts of one chunked blob; undefined when they are damaged. Bits are trusted when
 * written under this boot or flushed by a clean stop, otherwise they are pending. At once, because
 * whoever asks for a blob does not wait: two small files, once for each blob in use.
 * @throws StoreError IO
 */
export function loadBlobNow(
  folder: string,
  digest: Digest,
  bootId: string,
): LoadedBlob | undefined {
  const meta = readBoundedNow(join(folder, META_FILE), META_MAX_BYTES);
  const bitmap = readBoundedNow(join(folder, BITMAP_FILE), BITMAP_FILE_MAX_BYTES);
  return assemble({ meta, bitmap, data: factsNow(join(folder, DATA_FILE)) }, digest, bootId);
}

/** The same without holding anybody up. */
export async function loadBlob(
  folder: string,
  digest: Digest,
  bootId: string,
): Promise<LoadedBlob | undefined> {
  const meta = await readBounded(join(folder, META_FILE), META_MAX_BYTES);
  const bitmap = await readBounded(join(folder, BITMAP_FILE), BITMAP_FILE_MAX_BYTES);
  return assemble({ meta, bitmap, data: await fileFacts(join(folder, DATA_FILE)) }, digest, bootId);
}

/** Size, time and kind of a file, not of what a link points to; nothing of all that if absent. */
export async function fileFacts(path: string): Promise<FileFacts> {
  try {
    return factsOf(await lstat(path));
  } catch (err) {
    if (isMissing(err)) return ABSENT;
    throw err;
  }
}

function factsNow(path: string): FileFacts {
  try {
    return factsOf(lstatSync(path));
  } catch (err) {
    if (isMissing(err)) return ABSENT;
    throw err;
  }
}

function factsOf(stats: Stats): FileFacts {
  const { size, blocks, mtimeMs } = stats;
  return { size, blocks, mtimeMs, isFile: stats.isFile() };
}

function assemble(raw: Raw, digest: Digest, bootId: string): LoadedBlob | undefined {
  const facts = raw.meta === undefined ? undefined : decodeMeta(raw.meta, digest);
  if (facts === undefined) return undefined;
  const { chunkCount } = layoutOf(facts.size);
  const saved = raw.bitmap === undefined ? undefined : decodeBitmap(raw.bitmap, chunkCount);
  if (saved === undefined || !raw.data.isFile || raw.data.size !== facts.size) return undefined;
  const { have, pending, clean } = saved;
  if (clean || (bootId !== '' && saved.bootId === bootId)) {
    return { facts, state: { have, pending, bootId, clean } };
  }
  for (const index of have.present()) pending.set(index);
  const nothing = new ChunkBitmap(chunkCount);
  return { facts, state: { have: nothing, pending, bootId, clean: false } };
}
