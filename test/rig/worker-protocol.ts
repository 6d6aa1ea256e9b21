import { Type } from 'typebox';
import type { Static } from 'typebox';

/** One HTTP request. The body of the answer is hashed and its beginning returned. */
const HttpRequest = Type.Object({
  kind: Type.Literal('http'),
  url: Type.String(),
  method: Type.Optional(Type.String()),
  headers: Type.Optional(Type.Record(Type.String(), Type.String())),
  /** base64 */
  body: Type.Optional(Type.String()),
  timeoutMs: Type.Number(),
});

/** Bytes sent over a plain TCP connection as they are, and what came back until it ended. */
const RawRequest = Type.Object({
  kind: Type.Literal('raw'),
  host: Type.String(),
  port: Type.Number(),
  /** base64 */
  bytes: Type.String(),
  timeoutMs: Type.Number(),
});

/** Starts a TCP proxy; answers when it listens. */
const ProxyRequest = Type.Object({
  kind: Type.Literal('proxy'),
  listenPort: Type.Number(),
  host: Type.String(),
  port: Type.Number(),
});

/**
 * What the proxy does to the next `times` answers that reach `afterBytes`: cut the connection
 * there, or flip one bit there. An answer is what flows back until the client speaks again.
 */
const FaultRequest = Type.Object({
  kind: Type.Literal('fault'),
  action: Type.Union([Type.Literal('none'), Type.Literal('cut'), Type.Literal('flip')]),
  afterBytes: Type.Number(),
  times: Type.Number(),
});

/** How many faults were applied since the proxy started. */
const FaultCountRequest = Type.Object({ kind: Type.Literal('fault-count') });

export const WorkerRequest = Type.Object({
  id: Type.Number(),
  task: Type.Union([HttpRequest, RawRequest, ProxyRequest, FaultRequest, FaultCountRequest]),
});

export const WorkerAnswer = Type.Object({
  id: Type.Number(),
  error: Type.Optional(Type.String()),
  status: Type.Optional(Type.Number()),
  headers: Type.Optional(Type.Record(Type.String(), Type.String())),
  /** base64, at most the first BODY_MAX_BYTES */
  body: Type.Optional(Type.String()),
  bodyBytes: Type.Optional(Type.Number()),
  bodySha256: Type.Optional(Type.String()),
  /** Whether the other side ended the connection before time was up. */
  closed: Type.Optional(Type.Boolean()),
  count: Type.Optional(Type.Number()),
});

export type HttpTask = Static<typeof HttpRequest>;
export type RawTask = Static<typeof RawRequest>;
export type ProxyTask = Static<typeof ProxyRequest>;
export type FaultTask = Static<typeof FaultRequest>;
export type WorkerTask = Static<typeof WorkerRequest>['task'];
export type WorkerResult = Omit<Static<typeof WorkerAnswer>, 'id' | 'error'>;

/** Bytes of an answer's body that are returned; all of it is counted and hashed. */
export const BODY_MAX_BYTES = 4 * 1024 * 1024;
