import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { OpenBlob } from '../blobs/port.ts';
import { BODY_BUFFER_BYTES, BODY_BUFFERS } from './constants.ts';

/**
 * Writes `[start, end)` of a blob into a response whose headers are sent. Buffers are reused, so
 * memory does not grow with the blob; a slow client slows the reading. Returns the bytes written,
 * which are fewer when the client went away or the blob ended early: the connection is then cut.
 */
export async function sendBody(
  blob: OpenBlob,
  range: { start: number; end: number },
  response: ServerResponse,
  signal: AbortSignal,
): Promise<number> {
  const size = Math.min(BODY_BUFFER_BYTES, range.end - range.start);
  const ring = Array.from({ length: BODY_BUFFERS }, () => ({
    bytes: Buffer.allocUnsafe(size),
    free: Promise.resolve(),
  }));
  let at = range.start;
  for (let turn = 0; at < range.end && !signal.aborted; turn += 1) {
    const slot = ring[turn % ring.length];
    if (slot === undefined) break;
    await slot.free;
    if (signal.aborted) break;
    const want = Math.min(slot.bytes.length, range.end - at);
    const got = await blob.read(slot.bytes.subarray(0, want), at);
    if (got < want) break;
    slot.free = new Promise((resolve) => {
      response.write(slot.bytes.subarray(0, want), () => resolve());
    });
    at += want;
    if (response.writableNeedDrain) await drained(response, signal);
  }
  if (at === range.end) response.end();
  else response.destroy();
  return at - range.start;
}

async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  try {
    await once(response, 'drain', { signal });
  } catch {
    // The client is gone: the loop sees the signal.
  }
}
