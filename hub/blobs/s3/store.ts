import { randomBytes, randomUUID } from 'node:crypto';
import type { Digest } from '../../../proto/oci/digest.ts';
import { PENDING_BLOBS_MAX } from '../constants.ts';
import { BlobStoreError } from '../errors.ts';
import type { BlobStore, OpenBlob, PendingBlob, PendingState } from '../port.ts';
import { ObjectClient, type S3Place } from './client.ts';
import { LOOSE_BATCH } from './constants.ts';
import type { ObjectIndex } from './object-index.ts';
import { ObjectReader } from './object-reader.ts';
import { parseParked, type ParkedObject } from './parked-object.ts';
import { PartBuffers } from './part-buffers.ts';
import { blobBytesMax, partBytesAfter, type PartSizes } from './part-sizes.ts';
import { PendingObject } from './pending-object.ts';

// <prefix>blobs/<two digits>/<random>   a blob, or one in the making; the index says which
// <prefix>tails/<two digits>/<random>   the end of one in the making, while no request writes to it
//
// Names are random and used once, so that nothing is ever written over or moved: the row of the
// index is the commit.

const KEY_BYTES = 16;
const SHARD_DIGITS = 2;

export type S3StoreOptions = S3Place & {
  /** What the names of all objects begin with. */
  prefix: string;
  /** Send those who want a blob to the bucket. */
  redirect: boolean;
  pendingMax?: number;
  /** Bytes of the part that follows so many. */
  partBytes?: PartSizes;
};

/** Blobs as objects of an S3 bucket. */
export class S3BlobStore implements BlobStore {
  readonly sizeMax: number;
  readonly #options: S3StoreOptions;
  readonly #client: ObjectClient;
  readonly #index: ObjectIndex;
  readonly #buffers = new PartBuffers();
  readonly #pending = new Map<string, PendingObject>();
  #resuming = 0;

  private constructor(options: S3StoreOptions, client: ObjectClient, index: ObjectIndex) {
    this.#options = options;
    this.sizeMax = blobBytesMax(options.partBytes ?? partBytesAfter);
    this.#client = client;
    this.#index = index;
  }

  /** Loads the driver. The bucket has to be there; it is not asked yet. */
  static async open(
    options: S3StoreOptions,
    modules: { index: ObjectIndex },
  ): Promise<S3BlobStore> {
    return new S3BlobStore(options, await ObjectClient.open(options), modules.index);
  }

  async stat(digest: Digest): Promise<{ size: number } | undefined> {
    const found = await this.#index.find(digest);
    return found && { size: found.size };
  }

  async open(digest: Digest): Promise<OpenBlob | undefined> {
    const found = await this.#index.find(digest);
    return found && new ObjectReader(found, this.#client);
  }

  async addressOf(digest: Digest): Promise<string | undefined> {
    if (!this.#options.redirect) return undefined;
    const found = await this.#index.find(digest);
    return found && this.#client.address(found.key);
  }

  async begin(): Promise<PendingBlob> {
    this.#assertRoom();
    const parked = { id: randomUUID(), key: this.#newKey('blobs'), parts: 0, partsBytes: 0 };
    return this.#keep({ ...parked, upload: undefined, tail: undefined }, []);
  }

  async resume(state: PendingState): Promise<PendingBlob | undefined> {
    const parked = parseParked(state);
    if (parked === undefined) return undefined;
    await this.#pending.get(parked.id)?.release();
    this.#assertRoom();
    this.#resuming += 1;
    try {
      const etags = await this.#partsOf(parked);
      return etags && this.#keep(parked, etags);
    } finally {
      this.#resuming -= 1;
    }
  }

  async nameOf(digest: Digest): Promise<string | undefined> {
    return (await this.#index.find(digest))?.key;
  }

  /** The object stays for those who read it, until a sweep. */
  remove(digest: Digest, name?: string): Promise<boolean> {
    return this.#index.remove({ digest, key: name }, Date.now());
  }

  async sweep({ beforeMs, known }: Parameters<BlobStore['sweep']>[0]): Promise<number> {
    let removed = 0;
    for (let after = ''; ;) {
      const page = await this.#index.loose({ beforeMs, after, max: LOOSE_BATCH });
      const wanted = await known([...new Set(page.map(({ pending }) => pending))]);
      for (const { key, pending } of page) {
        if (wanted.has(pending) || this.#pending.has(pending)) continue;
        await this.#client.remove(key);
        await this.#index.forget([key]);
        removed += 1;
      }
      const last = page.at(-1);
      if (last === undefined || page.length < LOOSE_BATCH) return removed;
      after = last.key;
    }
  }

  probe(): Promise<void> {
    return this.#client.probe();
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#pending.values(), (pending) => pending.release()));
    this.#client.close();
  }

  /** Entity tags of the parts that count; undefined when something of the blob is not there. */
  async #partsOf({ key, upload, parts, partsBytes, tail }: ParkedObject) {
    const keys = [
      ...(upload === undefined ? [] : [key]),
      ...(tail === undefined ? [] : [tail.key]),
    ];
    if (!(await this.#index.touch(keys, Date.now()))) return undefined;
    if (tail && (await this.#client.size(tail.key)) !== tail.size) return undefined;
    if (upload === undefined) return parts === 0 && partsBytes === 0 ? [] : undefined;
    const all = await this.#client.parts(key, upload);
    const found = all?.filter(({ number }) => number <= parts) ?? [];
    const bytes = found.reduce((sum, { size }) => sum + size, 0);
    if (found.length !== parts || bytes !== partsBytes) return undefined;
    return found.map(({ etag }) => etag);
  }

  #keep(parked: ParkedObject, etags: string[]): PendingObject {
    const pending: PendingObject = new PendingObject(
      { ...parked, etags },
      {
        client: this.#client,
        index: this.#index,
        buffers: this.#buffers,
        newKey: (kind) => this.#newKey(kind),
        partBytes: (count) => this.#partBytes(count),
        place: (digest, object) => this.#place(digest, object),
        closed: () => {
          if (this.#pending.get(parked.id) === pending) this.#pending.delete(parked.id);
        },
      },
    );
    this.#pending.set(parked.id, pending);
    return pending;
  }

  /** Of two objects of a blob the first one stays, if the bucket still has it. */
  async #place(digest: Digest, { key, size }: { key: string; size: number }): Promise<void> {
    const own = await this.#index.commit({ digest, key, size }, Date.now());
    if (own.key === key) return;
    if ((await this.#client.size(own.key)) === size) {
      await this.#client.removeObject(key);
      await this.#index.forget([key]);
    } else await this.#index.commit({ digest, key, size, lost: own.key }, Date.now());
  }

  #partBytes(count: number): number {
    const { partBytes = partBytesAfter } = this.#options;
    const bytes = partBytes(count);
    if (bytes !== undefined) return bytes;
    const max = this.sizeMax;
    throw new BlobStoreError(`S3 takes blobs of up to ${max} bytes`, { code: 'TOO_LARGE', max });
  }

  #newKey(kind: 'blobs' | 'tails'): string {
    const name = randomBytes(KEY_BYTES).toString('hex');
    return `${this.#options.prefix}${kind}/${name.slice(0, SHARD_DIGITS)}/${name}`;
  }

  #assertRoom(): void {
    const { pendingMax = PENDING_BLOBS_MAX } = this.#options;
    if (this.#pending.size + this.#resuming < pendingMax) return;
    throw new BlobStoreError(
      `${pendingMax} uploads are open, which is the limit; finish or cancel some`,
      { code: 'PENDING_LIMIT', max: pendingMax },
    );
  }
}
