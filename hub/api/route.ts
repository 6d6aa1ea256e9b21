import type { IncomingMessage, ServerResponse } from 'node:http';
import { Type, type Static, type TObject, type TSchema } from 'typebox';
import { parseBody } from '../../proto/hubapi/body.ts';
import type { Identity } from '../access/access.ts';
import type { Role } from '../access/project.ts';

/**
 * Who may call a route: the admin of the hub; everybody with an account; or whoever is at least
 * this in the project that the URL names. The admin may call all of them.
 */
export type Allowed = 'admin' | 'account' | { role: Role };

export type ApiCall<Body> = {
  identity: Identity;
  /** Out of the path. */
  params: Readonly<Record<string, string>>;
  query: Readonly<Record<string, string>>;
  body: Body;
};

/** An answer that is no JSON, and may be long. */
export class RawAnswer {
  /** Writes and ends it; `signal` aborts when the client is gone. */
  readonly write: (to: RawExchange) => Promise<void>;

  constructor(write: (to: RawExchange) => Promise<void>) {
    this.write = write;
  }
}

export type RawExchange = {
  request: IncomingMessage;
  response: ServerResponse;
  signal: AbortSignal;
};

/** One operation of the administration, as it is served and as it is described. */
export type ApiRoute = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below API_BASE, parameters with a colon. */
  path: string;
  summary: string;
  tag: string;
  allowed: Allowed;
  /** Of a good answer. */
  status: 200 | 201 | 202 | 204;
  body: TSchema;
  query: TObject;
  answer: TSchema;
  run: (call: ApiCall<unknown>) => Promise<object | undefined>;
};

const NOTHING = Type.Object({}, { additionalProperties: false });
export const NO_ANSWER = Type.Null({ description: 'no body' });
export const NO_BODY = Type.Optional(Type.Null());

type Wish<B extends TSchema> = {
  summary: string;
  tag: string;
  allowed: Allowed;
  status?: ApiRoute['status'];
  body?: B;
  query?: TObject;
  answer?: TSchema;
  /** undefined: the answer has no body. */
  run: (call: ApiCall<Static<B>>) => Promise<object | undefined | void>;
};

/** Declares a route; its body is read as its schema says. */
export function route<B extends TSchema = typeof NO_BODY>(
  target: `${ApiRoute['method']} /${string}`,
  wish: Wish<B>,
): ApiRoute {
  const [method, path = ''] = target.split(' ', 2);
  const { body, run, query = NOTHING, answer = NO_ANSWER, ...rest } = wish;
  return {
    status: answer === NO_ANSWER ? 204 : 200,
    ...rest,
    query,
    answer,
    method: METHODS.find((known) => known === method) ?? 'GET',
    path,
    body: body ?? NO_BODY,
    run: async (call) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- none is read
      const read = body ? bodyOf(body, call.body) : (undefined as Static<B>);
      return (await run({ ...call, body: read })) ?? undefined;
    },
  };
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/** @throws HubApiError INVALID_BODY */
function bodyOf<B extends TSchema>(schema: B, body: unknown): Static<B> {
  return parseBody(schema, Buffer.isBuffer(body) ? body : Buffer.alloc(0));
}
