import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { blobOf, type Blob } from './content.ts';
import type { Fault } from './faults.ts';
import type { Entry } from './request-log.ts';

const HTML = Buffer.from('<!doctype html><title>Welcome</title><p>Please accept our terms.');
/** Steps of a slow answer in a second. */
const SLOW_STEPS = 10;
const READ_MS = 100;

export type Content = {
  blob: Blob;
  headers: Record<string, string>;
  /** Undefined for the whole. */
  part: { start: number; end: number } | undefined;
};

/** Sends an answer without content, or with an error in the registry's JSON. */
export function sendStatus(
  response: ServerResponse,
  entry: Entry,
  status: number,
  options: { code?: string; message?: string; headers?: Record<string, string> } = {},
): void {
  const { code, message = 'that did not work', headers = {} } = options;
  const errors = { errors: [{ code, message }] };
  const body = code === undefined ? '' : JSON.stringify(errors);
  entry.status = status;
  response.writeHead(status, {
    ...(body === '' ? {} : { 'content-type': 'application/json' }),
    ...(status === 304 ? {} : { 'content-length': Buffer.byteLength(body) }),
    ...headers,
  });
  response.end(body);
}

/**
 * Sends content, spoiled by the fault if there is one, no faster than the connection takes it.
 * Resolves when all is sent, or the connection gone.
 */
export async function sendContent(
  response: ServerResponse,
  entry: Entry,
  content: Content,
  fault: Fault | undefined,
): Promise<void> {
  if (fault?.kind === 'hang') return;
  if (fault?.kind === 'status') {
    sendStatus(response, entry, fault.status, { code: 'UNKNOWN', headers: fault.headers ?? {} });
    return;
  }
  if (fault?.kind === 'redirect') {
    const location = fault.to === 'self' ? entry.path : fault.to;
    sendStatus(response, entry, 307, { headers: { location } });
    return;
  }
  const { blob, headers, part } = spoiled(content, fault);
  const { start, end } = part ?? { start: 0, end: blob.size };
  entry.status = part === undefined ? 200 : 206;
  response.writeHead(entry.status, {
    'accept-ranges': 'bytes',
    ...headers,
    'content-length': end - start,
    ...(part && { 'content-range': `bytes ${start}-${end - 1}/${blob.size}` }),
  });
  if (entry.method === 'HEAD') response.end();
  else await sendBody(response, entry, piecesOf(blob, { start, end }, fault), fault);
}

/** What is sent instead, where the fault changes more than the way it is sent. */
function spoiled(content: Content, fault: Fault | undefined): Content {
  const { blob, headers, part } = content;
  if (fault?.kind === 'html') {
    return { blob: blobOf(HTML), headers: { 'content-type': 'text/html' }, part: undefined };
  }
  if (fault?.kind === 'gzip') {
    const packed = gzipSync(Buffer.concat([...blob.read(0, blob.size)]));
    const encoded = { ...headers, 'content-encoding': 'gzip' };
    return { blob: blobOf(packed), headers: encoded, part: undefined };
  }
  if (fault?.kind === 'length') {
    const size = blob.size + fault.by;
    return { blob: { ...blob, size, read: stretched(blob) }, headers, part };
  }
  return fault?.kind === 'whole' ? { ...content, part: undefined } : content;
}

/** The blob, followed by as many zeros as are asked for. */
function stretched(blob: Blob): Blob['read'] {
  return function* read(start, end) {
    yield* blob.read(Math.min(start, blob.size), Math.min(end, blob.size));
    const missing = end - Math.max(start, blob.size);
    if (missing > 0) yield Buffer.alloc(missing);
  };
}

function* piecesOf(
  blob: Blob,
  range: { start: number; end: number },
  fault: Fault | undefined,
): Iterable<Buffer> {
  let at = range.start;
  for (const piece of blob.read(range.start, range.end)) {
    const offset = fault?.kind === 'flip' ? fault.at - at : -1;
    if (offset >= 0 && offset < piece.length) {
      const other = Buffer.from(piece);
      other[offset] = (other[offset] ?? 0) ^ 1;
      yield other;
    } else yield piece;
    at += piece.length;
  }
}

async function sendBody(
  response: ServerResponse,
  entry: Entry,
  pieces: Iterable<Buffer>,
  fault: Fault | undefined,
): Promise<void> {
  const isCut = fault?.kind === 'truncated' || fault?.kind === 'reset';
  const most = isCut ? fault.bytes : Number.POSITIVE_INFINITY;
  for (const piece of sized(pieces, fault)) {
    const part = piece.subarray(0, most - entry.bytes);
    if (!(await sendPart(response, part))) return;
    entry.bytes += part.length;
    if (entry.bytes >= most) break;
    if (fault?.kind === 'slow') await delay(1000 / SLOW_STEPS);
  }
  if (isCut) await cut(response, fault.kind);
  else response.end();
}

/** Pieces so small that a slow answer flows evenly. */
function* sized(pieces: Iterable<Buffer>, fault: Fault | undefined): Iterable<Buffer> {
  if (fault?.kind !== 'slow') {
    yield* pieces;
    return;
  }
  const step = Math.max(1, Math.floor(fault.bytesPerSecond / SLOW_STEPS));
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += step) yield piece.subarray(at, at + step);
  }
}

/** False when the client is gone. */
async function sendPart(response: ServerResponse, part: Buffer): Promise<boolean> {
  if (response.destroyed || response.closed) return false;
  if (response.write(part)) return true;
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  response.once('close', leave);
  try {
    await once(response, 'drain', { signal: gone.signal });
    return true;
  } catch {
    return false;
  } finally {
    response.off('close', leave);
  }
}

/** Ends the connection when what was written has left. */
async function cut(response: ServerResponse, how: 'truncated' | 'reset'): Promise<void> {
  const { socket } = response;
  if (socket === null || socket.destroyed) return;
  await new Promise<void>((resolve) => socket.write('', () => resolve()));
  if (how === 'truncated' || 'encrypted' in socket) {
    socket.destroySoon();
    return;
  }
  // A reset takes with it what the other side has received and not read.
  await delay(READ_MS);
  socket.resetAndDestroy();
}
