import type { Dirent } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { layoutOf, UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { decodeBitmap } from './bitmap-file.ts';
import { BITMAP_FILE, CHUNKED, DATA_FILE, META_FILE, SMALL, digestOfPath } from './blob-paths.ts';
import type { BlobPaths } from './blob-paths.ts';
import { BITMAP_FILE_MAX_BYTES, META_MAX_BYTES, SCAN_PARALLEL } from './constants.ts';
import type { FsBlobState } from './fs-blob.ts';
import { isMissing, readBounded } from './files.ts';
import { decodeMeta } from './meta-file.ts';
import type { CreateBlob } from './port.ts';

export type FoundBlob = { facts: CreateBlob; state: FsBlobState; usedMs: number };
export type FoundSmall = { digest: Digest; bytes: number; usedMs: number };
export type Found = { chunked: FoundBlob[]; small: FoundSmall[]; dropped: number };

/**
 * Reads what earlier runs left. Anything damaged is deleted; bits are trusted when written under
 * this boot or flushed by a clean stop, otherwise they are pending.
 */
export async function scanStore(paths: BlobPaths, bootId: string): Promise<Found> {
  await rm(paths.temporaryFolder, { recursive: true, force: true });
  const found: Found = { chunked: [], small: [], dropped: 0 };
  await eachDigest(join(paths.root, CHUNKED), async (digest) => {
    const blob = await loadBlob(paths.chunked(digest), digest, bootId);
    if (blob !== undefined) found.chunked.push(blob);
    else {
      await rm(paths.chunked(digest), { recursive: true, force: true });
      found.dropped += 1;
    }
  });
  await eachDigest(join(paths.root, SMALL), async (digest) => {
    const { size, mtimeMs, isFile } = await fileFacts(paths.small(digest));
    if (isFile && size <= UNCHUNKED_MAX_BYTES) {
      found.small.push({ digest, bytes: size, usedMs: mtimeMs });
    } else {
      await rm(paths.small(digest), { recursive: true, force: true });
      found.dropped += 1;
    }
  });
  return found;
}

async function loadBlob(
  folder: string,
  digest: Digest,
  bootId: string,
): Promise<FoundBlob | undefined> {
  const meta = await readBounded(join(folder, META_FILE), META_MAX_BYTES);
  const facts = meta === undefined ? undefined : decodeMeta(meta, digest);
  if (facts === undefined) return undefined;
  const bitmap = await readBounded(join(folder, BITMAP_FILE), BITMAP_FILE_MAX_BYTES);
  const { chunkCount } = layoutOf(facts.size);
  const saved = bitmap === undefined ? undefined : decodeBitmap(bitmap, chunkCount);
  const data = await fileFacts(join(folder, DATA_FILE));
  if (saved === undefined || !data.isFile || data.size !== facts.size) return undefined;
  const { mtimeMs } = await fileFacts(join(folder, META_FILE));
  const isTrusted = saved.clean || (bootId !== '' && saved.bootId === bootId);
  const { have, pending } = saved;
  if (isTrusted) {
    return { facts, state: { have, pending, bootId, clean: saved.clean }, usedMs: mtimeMs };
  }
  for (const index of have.present()) pending.set(index);
  const nothing = new ChunkBitmap(chunkCount);
  return { facts, state: { have: nothing, pending, bootId, clean: false }, usedMs: mtimeMs };
}

async function fileFacts(
  path: string,
): Promise<{ size: number; mtimeMs: number; isFile: boolean }> {
  try {
    const facts = await stat(path);
    return { size: facts.size, mtimeMs: facts.mtimeMs, isFile: facts.isFile() };
  } catch (err) {
    if (isMissing(err)) return { size: 0, mtimeMs: 0, isFile: false };
    throw err;
  }
}

/** Calls `visit` for every digest that has a place under `root`, some at a time. */
async function eachDigest(root: string, visit: (digest: Digest) => Promise<void>): Promise<void> {
  for (const algorithm of await names(root)) {
    for (const prefix of await names(join(root, algorithm))) {
      const entries = await names(join(root, algorithm, prefix));
      const digests = entries.flatMap((name) => digestOfPath(algorithm, prefix, name) ?? []);
      for (let at = 0; at < digests.length; at += SCAN_PARALLEL) {
        await Promise.all(digests.slice(at, at + SCAN_PARALLEL).map(visit));
      }
    }
  }
}

async function names(folder: string): Promise<string[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (err) {
    if (isMissing(err)) return [];
    throw err;
  }
  return entries.map((entry) => entry.name);
}
