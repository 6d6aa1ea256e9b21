import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { abortable } from '../../proto/std/abort.ts';
import type { OpenBlob } from '../blobs/port.ts';
import type { UplinkBody } from '../uplink/uplink.ts';
import type { BodyBuffers } from './body-buffers.ts';
import { whenSent } from './large-answers.ts';

/**
 * Writes `[start, end)` of a blob into a response whose headers are sent, and ends it. Buffers are
 * reused, so memory does not grow with the blob; a slow client slows the reading. Each slice has
 * its turn on the uplink. Stops without an error when the client is gone.
 * @throws BlobStoreError STORE_IO; Error when the stored blob is shorter than it was
 */
export async function sendBody(
  blob: OpenBlob,
  range: { start: number; end: number },
  { response, signal }: { response: ServerResponse; signal: AbortSignal },
  { uplink, buffers }: { uplink: UplinkBody; buffers: BodyBuffers },
  onBytes: (count: number) => void,
): Promise<void> {
  const room = buffers.take(range.end - range.start);
  whenSent({ response, signal }, () => room[Symbol.dispose]());
  const { size, count } = room;
  const ring = Array.from({ length: count }, () => ({
    bytes: Buffer.allocUnsafe(size),
    free: Promise.resolve(),
  }));
  try {
    let at = range.start;
    for (let n = 0; at < range.end; n += 1) {
      const slot = ring[n % ring.length];
      if (slot === undefined) break;
      await abortable(slot.free, signal);
      const part = slot.bytes.subarray(0, Math.min(size, range.end - at));
      await turnOf(uplink, part.length, { response, signal });
      const got = await blob.read(part, at);
      signal.throwIfAborted();
      if (got < part.length) throw new Error(`the stored blob ends at byte ${at + got}`);
      slot.free = written(response, part);
      onBytes(part.length);
      at += part.length;
      if (response.writableNeedDrain) await once(response, 'drain', { signal });
    }
    response.end();
  } catch (err) {
    if (!signal.aborted) throw err;
  }
}

function written(response: ServerResponse, part: Buffer): Promise<void> {
  return new Promise((resolve) => {
    response.write(part, () => resolve());
  });
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
