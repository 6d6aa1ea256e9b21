import type { Digest } from '../../../proto/oci/digest.ts';
import { BlobStoreError } from '../errors.ts';
import type { PendingBlob, PendingState } from '../port.ts';
import type { ObjectClient } from './client.ts';
import type { ObjectIndex } from './object-index.ts';
import { ObjectReader } from './object-reader.ts';
import type { PartBuffer, PartBuffers } from './part-buffers.ts';
import type { ParkedObject } from './parked-object.ts';

type Modules = {
  client: ObjectClient;
  index: Pick<ObjectIndex, 'note' | 'touch' | 'forget'>;
  buffers: PartBuffers;
  /** A name that no object has, nor will have. */
  newKey: (kind: 'blobs' | 'tails') => string;
  /** Bytes of the part after so many. */
  partBytes: (count: number) => number;
  /** Makes the object that of the blob. */
  place(digest: Digest, object: { key: string; size: number }): Promise<void>;
  closed(): void;
};

/**
 * A blob in the making as parts of one object. Bytes that fill no part are in memory while a
 * request appends and in an object of their own, the tail, while the blob is parked.
 */
export class PendingObject implements PendingBlob {
  readonly id: string;
  readonly #modules: Modules;
  readonly #key: string;
  #upload: string | undefined;
  /** Entity tags of the parts that are there. */
  readonly #etags: string[];
  #partsBytes: number;
  #tail: { key: string; size: number } | undefined;
  #buffer: PartBuffer | undefined;
  #filled = 0;
  /** Tails that a state told before may still name. */
  #obsolete: string[] = [];
  #reader: ObjectReader | undefined;
  /** True when the object of the blob, or a part of it, may be there. */
  #made: boolean;
  /** True when the index may have given the object to the blob, whatever its answer was. */
  #placing = false;
  #state: 'open' | 'failed' | 'ended' | 'closed' = 'open';

  constructor(parked: ParkedObject & { etags: string[] }, modules: Modules) {
    this.id = parked.id;
    this.#modules = modules;
    this.#key = parked.key;
    this.#upload = parked.upload;
    this.#made = parked.upload !== undefined;
    this.#etags = parked.etags;
    this.#partsBytes = parked.partsBytes;
    this.#tail = parked.tail;
  }

  get size(): number {
    const rest = this.#buffer === undefined ? (this.#tail?.size ?? 0) : this.#filled;
    return this.#partsBytes + rest;
  }

  async park(): Promise<PendingState> {
    this.#assertOpen();
    await this.#step(async () => {
      const { client, index, newKey } = this.#modules;
      await this.#drop(this.#obsolete.splice(0));
      if (this.#upload !== undefined) await index.touch([this.#key], Date.now());
      if (this.#tail !== undefined) await index.touch([this.#tail.key], Date.now());
      if (this.#buffer === undefined) return;
      const [before, size] = [this.#tail, this.#filled];
      if (size > 0) {
        const key = newKey('tails');
        await index.note({ key, pending: this.id }, Date.now());
        await client.put(key, this.#buffer.bytes.subarray(0, size));
        this.#tail = { key, size };
      } else this.#tail = undefined;
      if (before !== undefined) this.#obsolete.push(before.key);
      this.#free();
    });
    const parked: ParkedObject = {
      id: this.id,
      key: this.#key,
      upload: this.#upload,
      parts: this.#etags.length,
      partsBytes: this.#partsBytes,
      tail: this.#tail,
    };
    return JSON.stringify(parked);
  }

  async append(slices: readonly Uint8Array[]): Promise<void> {
    this.#assertOpen();
    await this.#step(async () => {
      for (const slice of slices) {
        for (let at = 0; at < slice.length;) {
          const { bytes } = await this.#memory();
          const taken = slice.subarray(at, at + bytes.length - this.#filled);
          bytes.set(taken, this.#filled);
          this.#filled += taken.length;
          at += taken.length;
          if (this.#filled === bytes.length) await this.#sendPart();
        }
      }
    });
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    if (this.#state !== 'ended') {
      this.#assertOpen();
      await this.#step(() => this.#finish());
      this.#state = 'ended';
    }
    this.#reader ??= new ObjectReader({ key: this.#key, size: this.size }, this.#modules.client);
    return this.#reader.read(into, position);
  }

  async commit(digest: Digest): Promise<void> {
    if (this.#state !== 'ended') this.#assertOpen();
    const { size } = this;
    const tail = this.#tail;
    // A blob that is nothing but a parked tail has its object already.
    const whole = tail !== undefined && tail.size === size && this.#buffer === undefined;
    const reuse = whole && this.#state !== 'ended' ? tail : undefined;
    await this.#step(async () => {
      if (reuse === undefined && this.#state !== 'ended') await this.#finish();
      this.#placing = true;
      await this.#modules.place(digest, reuse ?? { key: this.#key, size });
    });
    this.#close();
    await this.#drop(this.#obsolete).catch(() => undefined);
  }

  async discard(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#close();
    const { client } = this.#modules;
    // What cannot be removed now is noted as loose, and removed by a sweep.
    try {
      if (this.#placing) return await this.#drop(this.#obsolete);
      if (this.#upload !== undefined) await client.dropParts(this.#key, this.#upload);
      const tail = this.#tail === undefined ? [] : [this.#tail.key];
      await this.#drop([...this.#obsolete, ...tail, ...(this.#made ? [this.#key] : [])]);
    } catch {
      return;
    }
  }

  async release(): Promise<void> {
    if (this.#state !== 'closed') this.#close();
  }

  /** All bytes become the object; nothing can be appended. */
  async #finish(): Promise<void> {
    const { client, index } = this.#modules;
    if (this.#upload === undefined) {
      const bytes = this.size === 0 ? Buffer.alloc(0) : (await this.#memory()).bytes;
      await index.note({ key: this.#key, pending: this.id }, Date.now());
      this.#made = true;
      await client.put(this.#key, bytes.subarray(0, this.size));
      this.#partsBytes = this.size;
    } else {
      if (this.size > this.#partsBytes) {
        await this.#memory();
        await this.#sendPart();
      }
      await this.#join(this.#upload);
    }
    if (this.#tail !== undefined) this.#obsolete.push(this.#tail.key);
    this.#tail = undefined;
    this.#free();
  }

  /** When an earlier try was done and its answer lost, the object is there. */
  async #join(upload: string): Promise<void> {
    const { client } = this.#modules;
    this.#made = true;
    if (await client.finishParts(this.#key, upload, this.#etags)) return;
    if ((await client.size(this.#key)) === this.#partsBytes) return;
    const reason = 'the parts of the upload are gone';
    throw new BlobStoreError(`blob storage failed: ${reason}`, {
      code: 'STORE_IO',
      path: this.#key,
      reason,
    });
  }

  /** The memory that bytes go to, with the tail in it. */
  async #memory(): Promise<PartBuffer> {
    if (this.#buffer !== undefined) return this.#buffer;
    const { buffers, partBytes } = this.#modules;
    const buffer = await buffers.take(partBytes(this.#etags.length));
    try {
      const tail = this.#tail;
      if (tail !== undefined) {
        await using reader = new ObjectReader(tail, this.#modules.client);
        await reader.read(buffer.bytes.subarray(0, tail.size), 0);
        this.#filled = tail.size;
      }
    } catch (err) {
      buffer[Symbol.dispose]();
      throw err;
    }
    this.#buffer = buffer;
    return buffer;
  }

  /** Sends what is in memory as the next part, and gives the memory to who waits for it. */
  async #sendPart(): Promise<void> {
    const { client, index } = this.#modules;
    const { bytes } = await this.#memory();
    if (this.#upload === undefined) {
      await index.note({ key: this.#key, pending: this.id }, Date.now());
      this.#made = true;
      this.#upload = await client.startParts(this.#key);
    }
    const at = { key: this.#key, upload: this.#upload, number: this.#etags.length + 1 };
    this.#etags.push(await client.putPart(at, bytes.subarray(0, this.#filled)));
    this.#partsBytes += this.#filled;
    if (this.#tail !== undefined) this.#obsolete.push(this.#tail.key);
    this.#tail = undefined;
    this.#free();
  }

  async #drop(keys: readonly string[]): Promise<void> {
    const { client, index } = this.#modules;
    for (const key of keys) await client.removeObject(key);
    await index.forget(keys);
  }

  async #step(task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (err) {
      this.#state = 'failed';
      this.#free();
      throw err;
    }
  }

  #free(): void {
    this.#buffer?.[Symbol.dispose]();
    this.#buffer = undefined;
    this.#filled = 0;
  }

  #close(): void {
    this.#state = 'closed';
    this.#free();
    void this.#reader?.[Symbol.asyncDispose]();
    this.#modules.closed();
  }

  #assertOpen(): void {
    if (this.#state === 'open') return;
    throw new BlobStoreError(`upload ${this.id} takes no more calls`, {
      code: 'PENDING_CLOSED',
      id: this.id,
    });
  }
}
