import type { IncomingMessage, ServerResponse } from 'node:http';
import { ociErrorBody, type OciError } from '../../proto/oci/errors.ts';

/** One request to the registry API and where its answer goes. */
export type Exchange = {
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
  /** Aborts when the client is gone. */
  signal: AbortSignal;
};

/** Sends an answer with a body that is at hand; none to HEAD. */
export function send(
  { request, response }: Pick<Exchange, 'request' | 'response'>,
  status: number,
  headers: Record<string, string | number>,
  body: Uint8Array | string = '',
): void {
  if (response.headersSent) return void response.destroy();
  const length = status === 204 || status === 304 ? {} : { 'content-length': byteLength(body) };
  response.writeHead(status, { ...length, ...headers });
  response.end(request.method === 'HEAD' ? undefined : body);
}

export function sendJson(
  exchange: Exchange,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  send(exchange, 200, { 'content-type': 'application/json', ...headers }, JSON.stringify(body));
}

/** Answers with the OCI error body. The connection is closed when the request body is unread. */
export function sendError(
  exchange: Pick<Exchange, 'request' | 'response'>,
  err: OciError,
  headers: Record<string, string> = {},
): void {
  const close = exchange.request.complete ? {} : { connection: 'close' };
  const type = { 'content-type': 'application/json' };
  const body = JSON.stringify(ociErrorBody(err));
  send(exchange, err.status, { ...type, ...close, ...headers }, body);
}

/** True when the client already has what carries this entity tag (RFC 9110 section 13.1.2). */
export function isUnchanged(request: IncomingMessage, etag: string): boolean {
  const known = request.headers['if-none-match'];
  return known !== undefined && known.split(',').some((one) => one.trim() === etag);
}

function byteLength(body: Uint8Array | string): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.length;
}
