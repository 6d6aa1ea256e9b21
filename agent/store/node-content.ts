import { constants } from 'node:fs';
import { open, readlink, realpath } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { digestAlgorithm, digestBytes, digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { readFully } from './files.ts';

/** Never for writing, never through a link, and a pipe does not hold us up. */
const READ_ONLY = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

type Position = { identity: string | undefined; position: number };

/**
 * The content folder of this node's containerd, `blobs/<algorithm>/<hex>` below it, read only.
 * Files come and go as containerd decides: each is opened for each use, so that none is kept from
 * being deleted, and what cannot be opened is not had.
 */
export class NodeContent {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Bytes of the file, which nobody has hashed here; undefined when it is not to be had. */
  async size(digest: Digest): Promise<number | undefined> {
    return this.#use(digest, async (file) => (await file.stat()).size);
  }

  /** Differs for another file of the same name, whose bytes nobody has proved. */
  async identity(digest: Digest): Promise<string | undefined> {
    return this.#use(digest, identityOf);
  }

  /** Fills the buffer; false when this very file is gone or has not these bytes. */
  async read(digest: Digest, from: Position, into: Buffer): Promise<boolean> {
    const done = await this.#use(digest, async (file) => {
      if ((await identityOf(file)) !== from.identity) return undefined;
      return readFully(file, into, from.position);
    });
    return done === into.length;
  }

  /** A blob of at most 4 MiB whose digest was checked. */
  async small(digest: Digest): Promise<Buffer | undefined> {
    const bytes = await this.#use(digest, async (file) => {
      const { size } = await file.stat();
      if (size > UNCHUNKED_MAX_BYTES) return undefined;
      const whole = Buffer.allocUnsafe(size);
      return (await readFully(file, whole, 0)) === size ? whole : undefined;
    });
    if (bytes === undefined) return undefined;
    return digestOf(bytes, digestAlgorithm(digest)) === digest ? bytes : undefined;
  }

  async #use<T>(digest: Digest, task: (file: FileHandle) => Promise<T>): Promise<T | undefined> {
    const hex = digestBytes(digest).toString('hex');
    try {
      const root = await realpath(this.#folder);
      const path = join(root, 'blobs', digestAlgorithm(digest), hex);
      await using file = await open(path, READ_ONLY);
      if (!(await file.stat()).isFile()) return undefined;
      // What was opened is what the path says, so no folder below the root is a link either; the
      // name of a deleted file reads otherwise, too.
      if ((await readlink(`/proc/self/fd/${file.fd}`)) !== path) return undefined;
      return await task(file);
    } catch {
      return undefined;
    }
  }
}

async function identityOf(file: FileHandle): Promise<string> {
  const { dev, ino, size, mtimeMs } = await file.stat();
  return [dev, ino, size, mtimeMs].join('-');
}
