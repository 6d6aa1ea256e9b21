import { setMaxListeners } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ociError, ociErrorBody, type OciError } from '../../proto/oci/errors.ts';
import { ONE_PIECE_BYTES, REFUSED_BODY_MS, RETRY_AFTER_S } from './constants.ts';
import type { LargeAnswers } from './large-answers.ts';

const TOO_LARGE_STATUS = 413;

/** One request to the registry API and where its answer goes. */
export type Exchange = {
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
  /** Aborts when the client is gone. */
  signal: AbortSignal;
  /** Room for what clients take slowly. */
  answers: LargeAnswers;
};

const connections = new WeakMap<Socket, AbortSignal>();

/**
 * Aborts when the connection of the request is closed. All requests of a connection share it: one
 * that waits behind another (pipelining) has a response that never learns of the end.
 */
export function connectionSignal({ socket }: IncomingMessage): AbortSignal {
  const known = connections.get(socket);
  if (known !== undefined) return known;
  const gone = new AbortController();
  setMaxListeners(0, gone.signal);
  connections.set(socket, gone.signal);
  if (socket.destroyed) gone.abort();
  else socket.once('close', () => gone.abort());
  return gone.signal;
}

/**
 * Sends an answer with a body that is at hand; none to HEAD. Node puts headers and text into one
 * write to the connection, bytes into a second one, which costs as much again: a small body goes
 * as text of one character for each byte.
 * @throws OciError UNAVAILABLE for a large body when clients take too many of them slowly
 */
export function send(
  exchange: Pick<Exchange, 'request' | 'response'> & Partial<Exchange>,
  status: number,
  headers: Record<string, string | number>,
  body: Uint8Array | string = '',
): void {
  const { request, response, signal, answers } = exchange;
  if (response.headersSent) return void response.destroy();
  if (signal !== undefined && request.method !== 'HEAD') {
    answers?.hold(body.length, { response, signal });
  }
  const length = status === 204 || status === 304 ? {} : { 'content-length': byteLength(body) };
  response.writeHead(status, { ...length, ...headers });
  if (request.method === 'HEAD') response.end();
  else if (typeof body === 'string' || body.length > ONE_PIECE_BYTES) response.end(body);
  else
    response.end(
      Buffer.from(body.buffer, body.byteOffset, body.length).toString('latin1'),
      'latin1',
    );
}

export function sendJson(
  exchange: Exchange,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  send(exchange, 200, { 'content-type': 'application/json', ...headers }, JSON.stringify(body));
}

/**
 * Answers with the OCI error body. What is left of the request's body is thrown away for a while,
 * because a client whose sending is cut off never sees the answer.
 */
export function sendError(
  exchange: Pick<Exchange, 'request' | 'response'>,
  err: OciError,
  headers: Record<string, string> = {},
): void {
  const { request, response } = exchange;
  const later = err.status === 429 || err.status === 503 ? { 'retry-after': RETRY_AFTER_S } : {};
  const type = { 'content-type': 'application/json' };
  const body = JSON.stringify(ociErrorBody(err));
  const all: Record<string, string | number> = { ...type, ...later, ...headers };
  if (!request.complete) {
    // Node does not tell of every end of a request whose rest it throws away, so the timer stays.
    // It must not hold up the end of the process, nor hit a later request of the connection.
    const timer = setTimeout(() => {
      if (!request.complete) request.socket.destroy();
    }, REFUSED_BODY_MS);
    timer.unref();
    request.resume();
    // The end of the last answer of a connection is also the end of the connection.
    if (!response.shouldKeepAlive && !response.headersSent) {
      response.writeHead(err.status, { 'content-length': byteLength(body), ...all }).write(body);
      request.once('end', () => response.end());
      return;
    }
  }
  send(exchange, err.status, all, body);
}

/** The refusal of a blob that no storage of this hub can take. */
export function tooLarge(max: number, cause?: unknown): OciError {
  const message = `a blob of this hub has at most ${max} bytes`;
  return ociError('SIZE_INVALID', message, { status: TOO_LARGE_STATUS, cause });
}

/** The body of a request. Stopping early leaves the connection usable for the answer. */
export function bytesOf(request: IncomingMessage): AsyncIterable<Buffer> {
  return request.iterator({ destroyOnReturn: false });
}

/** True when the client already has what carries this entity tag (RFC 9110 section 13.1.2). */
export function isUnchanged(request: IncomingMessage, etag: string): boolean {
  const known = request.headers['if-none-match']?.split(',') ?? [];
  return known.some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === etag);
}

function byteLength(body: Uint8Array | string): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.length;
}
