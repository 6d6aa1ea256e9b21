import { constants } from 'node:fs';
import { lstat, open, readdir, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { hasCode } from '../../proto/std/errors.ts';
import { BACKUP_BUFFER_BYTES } from '../backup/constants.ts';
import { BundleError, damaged } from './errors.ts';
import { isBundleFolder, isBundlePath, LOCK_PATH } from './layout.ts';
import { indexTar } from './tar-index.ts';

/** Where the files of a bundle are read from. */
export interface BundleSource extends AsyncDisposable {
  /** Sizes of all files that are there, by their paths; bytes. */
  readonly sizes: ReadonlyMap<string, number>;
  /** Why it cannot be whole, whatever is in it. */
  readonly cut: string | undefined;
  /** Content of a file from `start` on; slices are good until the next one. */
  read(file: string, start?: number): AsyncIterable<Buffer>;
}

/**
 * Opens an archive, or a folder with the same files.
 * @throws BundleError BUNDLE_MISSING, TAR_INVALID, BUNDLE_DAMAGED; errors of node:fs
 */
export async function openSource(place: string): Promise<BundleSource> {
  try {
    const found = await lstat(place);
    return found.isDirectory() ? await openFolder(place) : await openArchive(place);
  } catch (err) {
    if (!hasCode(err, 'ENOENT', 'ENOTDIR')) throw err;
    const message = `there is no bundle at ${place}`;
    throw new BundleError(message, { code: 'BUNDLE_MISSING', place }, { cause: err });
  }
}

/** A file of a source as a whole. @throws BundleError BUNDLE_DAMAGED */
export async function readFileOf(
  source: BundleSource,
  file: string,
  maxBytes: number,
): Promise<Buffer> {
  const size = source.sizes.get(file);
  if (size === undefined) throw damaged(source.cut ?? `${file} is missing`);
  if (size > maxBytes) throw damaged(`${file} has ${size} bytes, at most ${maxBytes}`);
  const parts: Buffer[] = [];
  for await (const slice of source.read(file)) parts.push(Buffer.from(slice));
  return Buffer.concat(parts);
}

async function openArchive(place: string): Promise<BundleSource> {
  const file = await open(place, 'r');
  try {
    const { size } = await file.stat();
    const read = async (position: number, length: number): Promise<Buffer> => {
      const buffer = Buffer.alloc(length);
      const { bytesRead } = await file.read(buffer, 0, length, position);
      return buffer.subarray(0, bytesRead);
    };
    const { entries, ended } = await indexTar({ size, read });
    const places = new Map(entries.map((entry) => [entry.name, entry]));
    return {
      sizes: new Map(entries.map((entry) => [entry.name, entry.size])),
      cut: ended ? undefined : 'the archive ends before its end: it was cut',
      read: (name, start = 0) => {
        const entry = places.get(name);
        if (entry === undefined) throw damaged(`${name} is missing`);
        const range = { start: entry.start + start, end: entry.start + entry.size };
        return slices(file, range, name);
      },
      [Symbol.asyncDispose]: () => file.close(),
    };
  } catch (err) {
    await file.close();
    throw err;
  }
}

async function openFolder(place: string): Promise<BundleSource> {
  const sizes = new Map<string, number>();
  for (const found of await readdir(place, { withFileTypes: true, recursive: true })) {
    const name = path.relative(place, path.join(found.parentPath, found.name));
    if (found.isDirectory() && isBundleFolder(name)) continue;
    // What an export leaves that was broken off.
    if (found.isFile() && name === LOCK_PATH) continue;
    if (found.isFile() && isBundlePath(name.replace(/\.new$/, ''))) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      if (isBundlePath(name)) sizes.set(name, (await lstat(path.join(place, name))).size);
      continue;
    }
    throw damaged(`it has an entry that no bundle has: ${JSON.stringify(name.slice(0, 100))}`);
  }
  return {
    sizes,
    cut: undefined,
    read: (name, start = 0) => {
      const size = sizes.get(name);
      if (size === undefined) throw damaged(`${name} is missing`);
      return slicesOfFile(path.join(place, name), { start, end: size }, name);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function* slicesOfFile(
  file: string,
  range: { start: number; end: number },
  name: string,
): AsyncGenerator<Buffer> {
  await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  yield* slices(handle, range, name);
}

async function* slices(
  file: FileHandle,
  { start, end }: { start: number; end: number },
  name: string,
): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(BACKUP_BUFFER_BYTES);
  for (let at = start; at < end;) {
    // oxlint-disable-next-line no-await-in-loop -- one slice after the other
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - at), at);
    if (bytesRead === 0) throw damaged(`${name} is cut`);
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}
