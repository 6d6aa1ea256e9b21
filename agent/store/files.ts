import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { storeErrorOf } from './errors.ts';

/**
 * Replaces a file in one step, without fsync: after a crash of the machine the old, the new or an
 * empty file may be there, which readers detect by checksum or digest.
 */
export async function replaceFile(path: string, temporary: string, bytes: Buffer): Promise<void> {
  try {
    const file = await open(temporary, 'w', 0o600);
    try {
      await file.writeFile(bytes);
    } finally {
      await file.close();
    }
    await moveInto(temporary, path);
  } catch (err) {
    await rm(temporary, { force: true });
    throw storeErrorOf(err, path);
  }
}

/** Renames, making the folder when it is missing. */
export async function moveInto(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (err) {
    if (!isMissing(err)) throw err;
    await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    await rename(from, to);
  }
}

/** The whole file, at most `maxBytes`; undefined when it is absent or larger. */
export async function readBounded(path: string, maxBytes: number): Promise<Buffer | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (err) {
    if (isMissing(err)) return undefined;
    throw storeErrorOf(err, path);
  }
  try {
    const { size } = await file.stat();
    if (size > maxBytes) return undefined;
    const bytes = Buffer.allocUnsafe(size);
    return (await readFully(file, bytes, 0)) === size ? bytes : undefined;
  } catch (err) {
    throw storeErrorOf(err, path);
  } finally {
    await file.close();
  }
}

/** The same at once. */
export function readBoundedNow(path: string, maxBytes: number): Buffer | undefined {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (err) {
    if (isMissing(err)) return undefined;
    throw storeErrorOf(err, path);
  }
  try {
    const { size } = fstatSync(file);
    if (size > maxBytes) return undefined;
    const bytes = Buffer.allocUnsafe(size);
    let done = 0;
    while (done < size) {
      const count = readSync(file, bytes, done, size - done, done);
      if (count === 0) return undefined;
      done += count;
    }
    return bytes;
  } catch (err) {
    throw storeErrorOf(err, path);
  } finally {
    closeSync(file);
  }
}

/** Fills the buffer as far as the file goes; returns the bytes read. */
export async function readFully(file: FileHandle, into: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** Writes all of the buffer. */
export async function writeFully(file: FileHandle, from: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < from.length) {
    const { bytesWritten } = await file.write(from, done, from.length - done, position + done);
    done += bytesWritten;
  }
}

export function isMissing(err: unknown): boolean {
  return err instanceof Error && 'code' in err && err.code === 'ENOENT';
}
