import type { Dirent } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { CHUNKED, DATA_FILE, META_FILE, NODE, SMALL, digestOfPath } from './blob-paths.ts';
import type { BlobPaths } from './blob-paths.ts';
import { SCAN_PARALLEL } from './constants.ts';
import { isMissing } from './files.ts';
import { fileFacts } from './load-blob.ts';
import type { Entry, EntryKind } from './store-index.ts';

/** An entry as its folder tells it: its size and when it was used, not what is in it. */
export type Sighting = Entry & { usedMs: number; known: boolean };

/** One folder of digests that begin with the same two digits. */
export type Shelf = { kind: EntryKind; algorithm: string; prefix: string };

/** Unit of `blocks` in what stat(2) tells. */
const BLOCK_BYTES = 512;

const ROOMS: readonly { kind: EntryKind; folder: string }[] = [
  { kind: 'chunked', folder: CHUNKED },
  { kind: 'small', folder: SMALL },
  { kind: 'node', folder: NODE },
];

/** The folders that hold anything. */
export async function shelvesOf(paths: BlobPaths): Promise<Shelf[]> {
  const shelves: Shelf[] = [];
  for (const { kind, folder } of ROOMS) {
    for (const algorithm of await names(join(paths.root, folder))) {
      for (const prefix of await names(join(paths.root, folder, algorithm))) {
        shelves.push({ kind, algorithm, prefix });
      }
    }
  }
  return shelves;
}

/**
 * What lies on one shelf, unless `isKnown` says that the index has it. What can be no entry is
 * deleted and told to `onDropped`.
 */
export async function readShelf(
  shelf: Shelf,
  paths: BlobPaths,
  o: { isKnown: (digest: Digest, kind: EntryKind) => boolean; onDropped: () => void },
): Promise<Sighting[]> {
  const { kind, algorithm, prefix } = shelf;
  const room = ROOMS.find((candidate) => candidate.kind === kind)?.folder ?? CHUNKED;
  const digests = (await names(join(paths.root, room, algorithm, prefix)))
    .flatMap((name) => digestOfPath(algorithm, prefix, name) ?? [])
    .filter((digest) => !o.isKnown(digest, kind));
  const found: Sighting[] = [];
  const lane = async (): Promise<void> => {
    for (let digest = digests.pop(); digest !== undefined; digest = digests.pop()) {
      const sighting = await sight(kind, digest, paths);
      if (sighting !== undefined) found.push(sighting);
      else if (!o.isKnown(digest, kind)) {
        await rm(paths.of(kind, digest), { recursive: true, force: true });
        o.onDropped();
      }
    }
  };
  await Promise.all(Array.from({ length: SCAN_PARALLEL }, lane));
  return found;
}

async function sight(
  kind: EntryKind,
  digest: Digest,
  paths: BlobPaths,
): Promise<Sighting | undefined> {
  const common = { digest, kind, place: '', servable: false };
  const path = paths.of(kind, digest);
  if (kind === 'chunked') {
    const data = await fileFacts(join(path, DATA_FILE));
    const meta = await fileFacts(join(path, META_FILE));
    if (!data.isFile || !meta.isFile) return undefined;
    const { size: bytes } = data;
    const held = Math.min(bytes, data.blocks * BLOCK_BYTES);
    return { ...common, bytes, held, usedMs: meta.mtimeMs, known: false };
  }
  const { size, mtimeMs, isFile } = await fileFacts(path);
  if (!isFile || (kind === 'small' && size > UNCHUNKED_MAX_BYTES)) return undefined;
  const bytes = kind === 'small' ? size : 0;
  return { ...common, bytes, held: bytes, usedMs: mtimeMs, known: kind === 'small' };
}

async function names(folder: string): Promise<string[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (err) {
    if (isMissing(err) || isNoFolder(err)) return [];
    throw err;
  }
  return entries.map((entry) => entry.name);
}

function isNoFolder(err: unknown): boolean {
  return err instanceof Error && 'code' in err && err.code === 'ENOTDIR';
}
