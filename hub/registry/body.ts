import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { abortable } from '../../proto/std/abort.ts';
import { freeBytes } from '../../proto/std/free-bytes.ts';
import type { OpenBlob } from '../blobs/port.ts';
import type { UplinkBody } from '../uplink/uplink.ts';
import type { BufferMemory } from './buffer-memory.ts';
import { BODY_BUFFERS } from './constants.ts';

type Modules = {
  uplink: UplinkBody;
  /** Of all bodies that are sent. */
  memory: BufferMemory;
  onBytes: (count: number) => void;
};

/**
 * Writes `[start, end)` of a blob into a response whose headers are sent, and ends it. Buffers are
 * reused and all bodies share the memory for them, so that it grows neither with the blob nor much
 * with the number of clients; a slow client slows the reading. Each slice has its turn on the
 * uplink. Stops without an error when the client is gone.
 * @throws BlobStoreError STORE_IO; Error when the stored blob is shorter than it was
 */
export async function sendBody(
  blob: OpenBlob,
  range: { start: number; end: number },
  { response, signal }: { response: ServerResponse; signal: AbortSignal },
  { uplink, memory, onBytes }: Modules,
): Promise<void> {
  using place = memory.enter();
  const ring = Array.from({ length: BODY_BUFFERS }, () => new Slot());
  try {
    let at = range.start;
    for (let n = 0; at < range.end; n += 1) {
      const slot = ring[n % ring.length];
      if (slot === undefined) break;
      await abortable(slot.free, signal);
      const size = Math.min(place.share / BODY_BUFFERS, range.end - range.start);
      const part = slot.resized(size).subarray(0, range.end - at);
      const got = await blob.read(part, at);
      signal.throwIfAborted();
      // What is still on its way goes out in the pieces it comes in.
      if (got === 0 || (got < part.length && blob.isGrowing !== true)) {
        throw new Error(`the stored blob ends at byte ${at + got}`);
      }
      await turnOf(uplink, got, { response, signal });
      slot.write(response, part.subarray(0, got));
      onBytes(got);
      at += got;
      if (response.writableNeedDrain) await once(response, 'drain', { signal });
    }
    response.end();
  } catch (err) {
    if (!signal.aborted) throw err;
  } finally {
    for (const slot of ring) slot.leave();
  }
}

/** A buffer that is either free or on its way out. */
class Slot {
  #bytes = Buffer.alloc(0);
  free = Promise.resolve();

  /** The buffer, which is free, in this size. */
  resized(size: number): Buffer {
    if (this.#bytes.length !== size) {
      freeBytes(this.#bytes);
      this.#bytes = Buffer.allocUnsafeSlow(size);
    }
    return this.#bytes;
  }

  write(response: ServerResponse, part: Buffer): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    response.write(part, () => resolve());
    this.free = promise;
  }

  /** Gives the memory back when the buffer is free, which may be never if the client is gone. */
  leave(): void {
    void this.free.then(() => freeBytes(this.#bytes));
  }
}

/** A client that has to wait sees the headers at once. */
function turnOf(
  uplink: UplinkBody,
  bytes: number,
  { response, signal }: { response: ServerResponse; signal: AbortSignal },
): Promise<void> | undefined {
  const turn = uplink.turn(bytes, signal);
  if (turn !== undefined) response.flushHeaders();
  return turn;
}
