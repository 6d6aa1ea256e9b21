import type { Readable } from 'node:stream';
import { abortable, deadline } from '../../../proto/std/abort.ts';
import { BlobStoreError } from '../errors.ts';
import type { OpenBlob } from '../port.ts';
import type { ObjectClient } from './client.ts';
import { READ_WINDOW_BYTES, S3_ATTEMPTS, S3_SILENCE_MS } from './constants.ts';
import { s3Fault } from './faults.ts';

type Part = {
  body: Readable;
  chunks: AsyncIterator<Buffer>;
  /** What was received and not read yet begins here. */
  at: number;
  end: number;
  rest: Buffer;
};

/**
 * Reads of one object. Reads in order share a request, of which no more is in memory than the
 * connection holds; calls do not overlap.
 */
export class ObjectReader implements OpenBlob {
  readonly size: number;
  readonly #key: string;
  readonly #client: Pick<ObjectClient, 'get'>;
  #part: Part | undefined;
  #window = READ_WINDOW_BYTES;

  constructor(object: { key: string; size: number }, client: Pick<ObjectClient, 'get'>) {
    this.size = object.size;
    this.#key = object.key;
    this.#client = client;
  }

  async expect({ start, end }: { start: number; end: number }): Promise<boolean> {
    const stop = Math.min(end, this.size);
    if (start >= stop) return true;
    this.#end();
    this.#part = await this.#open(start, stop);
    return this.#part !== undefined;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const wanted = Math.max(0, Math.min(into.length, this.size - position));
    let done = 0;
    for (let failed = 0; done < wanted;) {
      try {
        const got = await this.#some(into.subarray(done, wanted), position + done);
        failed = got === 0 ? failed + 1 : 0;
        done += got;
        if (failed >= S3_ATTEMPTS) throw new Error('the object ends early');
      } catch (err) {
        this.#end();
        failed += 1;
        if (failed >= S3_ATTEMPTS) throw s3Fault(err, this.#key);
      }
    }
    return done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
  }

  /** Reads what has arrived, of a request that goes on at the position or a new one. */
  async #some(into: Uint8Array, position: number): Promise<number> {
    if (this.#part?.at !== position) {
      this.#end();
      const end = Math.min(this.size, position + Math.max(into.length, this.#window));
      this.#window *= 2;
      this.#part = await this.#open(position, end);
      if (this.#part === undefined) throw lostObject(this.#key);
    }
    const part = this.#part;
    if (part.rest.length === 0) {
      using limit = deadline(S3_SILENCE_MS);
      const next = await abortable(part.chunks.next(), limit.signal);
      if (next.done === true) {
        this.#end();
        return 0;
      }
      part.rest = next.value;
    }
    const taken = part.rest.subarray(0, into.length);
    into.set(taken);
    part.rest = part.rest.subarray(taken.length);
    part.at += taken.length;
    if (part.at === part.end) await this.#complete(part);
    return taken.length;
  }

  /** Takes the end of the answer as well, so that its connection serves the next one. */
  async #complete({ body, chunks }: Part): Promise<void> {
    this.#part = undefined;
    using limit = deadline(S3_SILENCE_MS);
    const last = await abortable(chunks.next(), limit.signal).catch(() => undefined);
    if (last?.done !== true) body.destroy();
  }

  async #open(start: number, end: number): Promise<Part | undefined> {
    const body = await this.#client.get(this.#key, { start, end });
    if (body === undefined) return undefined;
    // One that is given up may still fail.
    body.on('error', () => undefined);
    const chunks: AsyncIterator<Buffer> = body[Symbol.asyncIterator]();
    return { body, chunks, at: start, end, rest: Buffer.alloc(0) };
  }

  #end(): void {
    const part = this.#part;
    this.#part = undefined;
    if (part !== undefined && !part.body.readableEnded) part.body.destroy();
  }
}

function lostObject(key: string): BlobStoreError {
  const reason = 'the object is not there';
  return new BlobStoreError(`blob storage lost ${key}`, { code: 'STORE_IO', path: key, reason });
}
