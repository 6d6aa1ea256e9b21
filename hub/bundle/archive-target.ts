import { access, open, rename, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { makeDurableFolder, nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { BACKUP_BUFFER_BYTES } from '../backup/constants.ts';
import { BUNDLE_LIST_MAX_BYTES } from './constants.ts';
import { LIST_PATH, SIGNATURE_PATH } from './layout.ts';
import type { BundleEntry } from './list.ts';
import { decodeTarHeader, encodeTarHeader, padded, TAR_RECORD } from './tar-header.ts';
import { claimTarget, fill, targetExists, type Adding, type BundleTarget } from './target.ts';
import type { Head, OpenContent } from './target.ts';

const FILE_MODE = 0o600;
const END = Buffer.alloc(2 * TAR_RECORD);

/**
 * A bundle in one tar archive. Where each entry is follows from the list at its beginning, so that
 * an export goes on after what is there and has the right digest.
 */
export class ArchiveTarget implements BundleTarget {
  readonly #path: string;
  readonly #part: string;
  readonly #file: FileHandle;
  readonly #lock: AsyncDisposable;
  #at = 0;

  private constructor(place: string, file: FileHandle, lock: AsyncDisposable) {
    this.#path = place;
    this.#part = partOf(place);
    this.#file = file;
    this.#lock = lock;
  }

  /** @throws BundleError TARGET_EXISTS, TARGET_BUSY; OpsError FOLDER_UNUSABLE; errors of node:fs */
  static async open(options: { path: string }): Promise<ArchiveTarget> {
    const place = path.resolve(options.path);
    await refuseExisting(place);
    await makeDurableFolder(path.dirname(place));
    await using begun = new AsyncDisposableStack();
    const lock = begun.use(await claimTarget(place, `${place}.lock`));
    // Another export may have ended since the first look.
    await refuseExisting(place);
    const file = await openEither(partOf(place));
    begun.move();
    return new ArchiveTarget(place, file, lock);
  }

  async left(): Promise<Head | undefined> {
    try {
      const list = await this.#entryAt(0, LIST_PATH);
      if (list === undefined) return undefined;
      const signature = await this.#entryAt(list.end, SIGNATURE_PATH);
      if (signature === undefined) return undefined;
      this.#at = signature.end;
      return { list: list.bytes, signature: signature.bytes };
    } catch (err) {
      if (hasCode(err, 'TAR_INVALID')) return undefined;
      throw err;
    }
  }

  async begin({ list, signature }: Head): Promise<void> {
    await this.#file.truncate(0);
    this.#at = 0;
    await this.#put(LIST_PATH, list);
    await this.#put(SIGNATURE_PATH, signature);
  }

  async add(entry: BundleEntry, content: OpenContent, adding: Adding): Promise<void> {
    const { path: name, size } = entry;
    const header = encodeTarHeader({ name, size });
    const start = this.#at + header.length;
    await this.#write(header, this.#at);
    const part = {
      read: () => this.#slices(start, start + size),
      write: (bytes: Buffer, at: number) => this.#write(bytes, start + at),
    };
    await fill(entry, part, content, adding);
    await this.#write(Buffer.alloc(padded(size) - size), start + size);
    this.#at = start + padded(size);
  }

  async finish(): Promise<void> {
    await this.#write(END, this.#at);
    await this.#file.truncate(this.#at + END.length);
    await this.#file.sync();
    await rename(this.#part, this.#path);
    await nodeFolderOps.syncFolder(path.dirname(this.#path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    await this.#lock[Symbol.asyncDispose]();
  }

  async #put(name: string, bytes: Buffer): Promise<void> {
    const header = encodeTarHeader({ name, size: bytes.length });
    const filler = Buffer.alloc(padded(bytes.length) - bytes.length);
    const whole = Buffer.concat([header, bytes, filler]);
    await this.#write(whole, this.#at);
    this.#at += whole.length;
  }

  async #entryAt(at: number, name: string): Promise<{ bytes: Buffer; end: number } | undefined> {
    const header = decodeTarHeader(await this.#read(at, TAR_RECORD), at);
    if (header?.name !== name || header.size > BUNDLE_LIST_MAX_BYTES) return undefined;
    const start = at + TAR_RECORD;
    const bytes = await this.#read(start, header.size);
    if (bytes.length < header.size) return undefined;
    return { bytes, end: start + padded(header.size) };
  }

  async #read(position: number, length: number): Promise<Buffer> {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await this.#file.read(buffer, 0, length, position);
    return buffer.subarray(0, bytesRead);
  }

  async #write(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#file.write(
        bytes,
        done,
        bytes.length - done,
        position + done,
      );
      done += bytesWritten;
    }
  }

  /** What the file has of a range. */
  async *#slices(start: number, end: number): AsyncGenerator<Buffer> {
    const buffer = Buffer.allocUnsafe(BACKUP_BUFFER_BYTES);
    for (let at = start; at < end;) {
      const length = Math.min(buffer.length, end - at);
      const { bytesRead } = await this.#file.read(buffer, 0, length, at);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }
}

function partOf(place: string): string {
  return `${place}.new`;
}

async function refuseExisting(place: string): Promise<void> {
  try {
    await access(place);
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return;
    throw err;
  }
  throw targetExists(place, 'is there already; name another file');
}

/** To be read and written, whether it is there or not. */
async function openEither(part: string): Promise<FileHandle> {
  try {
    return await open(part, 'r+');
  } catch (err) {
    if (!hasCode(err, 'ENOENT')) throw err;
    return open(part, 'wx+', FILE_MODE);
  }
}
