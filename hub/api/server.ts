import type { IncomingMessage } from 'node:http';
import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type TSchema } from 'typebox';
import { API_BASE, API_BODY_MAX_BYTES, ApiProblem } from '../../proto/hubapi/admin.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { Access, Identity } from '../access/access.ts';
import { isAtLeast } from '../access/project.ts';
import { ApiError } from './errors.ts';
import { refuseWith } from './refusals.ts';
import { bytesOf, readBytes } from '../http/byte-bodies.ts';
import { connectionSignal } from '../registry/http.ts';
import { NO_ANSWER, NO_BODY, RawAnswer, type ApiRoute } from './route.ts';

export const OPENAPI_PATH = `${API_BASE}/openapi.json`;

type ServerModules = {
  access: Access;
  callerOf: (request: IncomingMessage) => string;
  routes: readonly ApiRoute[];
  version: string;
  logger: Logger;
};

const DESCRIPTION =
  'Accounts, projects, robots and nodes of a hub. Log in with Basic credentials of the admin or ' +
  'of an account; tokens of the registry and robots are refused.';
const REFUSALS: Record<number, string> = {
  400: 'the request is not understood',
  401: 'credentials are missing or wrong',
  403: 'these credentials do not allow it',
  404: 'there is none, or these credentials may not know of it',
  409: 'there is one already, or it is in use',
  413: 'the body is too large',
  429: 'too many wrong passwords',
  503: 'the hub is busy or full',
};

/** Adds the administration of the hub, and its description in OpenAPI 3. */
export function registerApi(app: FastifyInstance, modules: ServerModules): void {
  app.register(async (scope) => {
    await scope.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: { title: 'Flotilla hub', description: DESCRIPTION, version: modules.version },
        components: { securitySchemes: { basic: { type: 'http', scheme: 'basic' } } },
        security: [{ basic: [] }],
      },
    });
    // A type that a form of another site cannot send.
    readBytes(scope);
    scope.setValidatorCompiler(() => () => true);
    scope.setErrorHandler((err, _request, reply) => refuseWith(err, reply, modules.logger));
    for (const one of modules.routes) addRoute(scope, one, modules);
    scope.route({
      method: 'GET',
      url: OPENAPI_PATH,
      schema: { hide: true },
      handler: (_request, reply) => reply.send(scope.swagger()),
    });
  });
}

function addRoute(scope: FastifyInstance, one: ApiRoute, modules: ServerModules): void {
  const { access, callerOf } = modules;
  const identities = new WeakMap<FastifyRequest, Identity>();
  scope.route({
    method: one.method,
    url: `${API_BASE}${one.path}`,
    bodyLimit: API_BODY_MAX_BYTES,
    schema: describe(one),
    // Before the body is read: a stranger's bytes are not worth keeping.
    onRequest: async (request) => {
      const from = { address: callerOf(request.raw) };
      const identity = await access.identify(request.headers.authorization, from);
      await authorise(one, identity, paramsOf(request), access);
      identities.set(request, identity);
    },
    handler: async (request, reply) => {
      const identity = identities.get(request);
      if (identity === undefined) throw new ApiError('UNAUTHORIZED', 'who asks is not known');
      const query = checkBody(one.query, Object.fromEntries(queryOf(request)), 'query');
      const call = { identity, params: paramsOf(request), query: textsOf(query) };
      const answer = await one.run({ ...call, body: bytesOf(request) });
      if (answer instanceof RawAnswer) return sendRaw(answer, request, reply, modules.logger);
      reply.code(one.status).header('cache-control', 'no-store');
      return answer === undefined ? reply.send() : reply.send(answer);
    },
  });
}

/**
 * @throws ApiError UNAUTHORIZED, FORBIDDEN, or NOT_FOUND for a project one may not know of and for
 * a name that no database can hold
 */
async function authorise(
  { allowed, method }: ApiRoute,
  { subject, grants }: Identity,
  params: Readonly<Record<string, string>>,
  { rights }: Access,
): Promise<void> {
  const isStrange = Object.values(params).some((text) => text.includes('\0'));
  const isAdmin = subject.kind === 'admin' && grants === undefined;
  if (isAdmin && !isStrange) return;
  if (subject.kind === 'anonymous' || grants !== undefined) {
    throw new ApiError('UNAUTHORIZED', 'log in with the name and password of an account');
  }
  if (isStrange) throw new ApiError('NOT_FOUND', 'no such name');
  if (subject.kind !== 'account') throw new ApiError('FORBIDDEN', 'robots use the registry alone');
  if (allowed === 'account') return;
  if (allowed === 'admin') throw new ApiError('FORBIDDEN', 'only the admin of the hub may do this');
  const project = params['project'] ?? '';
  const role = await rights.roleIn(project, subject.name);
  if (isAtLeast(role, allowed.role)) return;
  const isOpen = (await rights.visibilityOf(project)) === 'public';
  if (isOpen && method === 'GET' && allowed.role === 'guest') return;
  if (role !== undefined || isOpen) {
    throw new ApiError('FORBIDDEN', `only a ${allowed.role} of the project may do this`);
  }
  throw new ApiError('NOT_FOUND', `no project ${project}`);
}

function describe(one: ApiRoute): object {
  const names = [...one.path.matchAll(/:([a-z]+)/g)].map(([, name = '']) => name);
  const refusals = Object.entries(REFUSALS).map(([status, description]) => [
    status,
    { ...ApiProblem, description },
  ]);
  const good: TSchema = one.answer === NO_ANSWER ? NO_ANSWER : one.answer;
  return {
    summary: one.summary,
    tags: [one.tag],
    operationId: operationIdOf(one),
    ...(names.length === 0
      ? {}
      : { params: Type.Object(Object.fromEntries(names.map((name) => [name, Type.String()]))) }),
    querystring: one.query,
    ...(one.body === NO_BODY ? {} : { body: one.body }),
    response: {
      ...Object.fromEntries(refusals),
      [one.status]: { description: one.summary, ...good },
    },
  };
}

function operationIdOf({ method, path }: ApiRoute): string {
  const words = path.split('/').filter((word) => word !== '');
  return [method.toLowerCase(), ...words.map((word) => word.replace(':', 'by-'))].join('-');
}

/** Headers are out when something goes wrong: the client sees an answer that is cut. */
async function sendRaw(
  answer: RawAnswer,
  request: FastifyRequest,
  reply: FastifyReply,
  logger: Logger,
): Promise<FastifyReply> {
  reply.hijack();
  const { raw: response } = reply;
  const signal = connectionSignal(request.raw);
  try {
    await answer.write({ request: request.raw, response, signal });
  } catch (err) {
    if (!signal.aborted) logger.warn({ err }, 'an answer of the administration was cut');
    response.destroy();
  }
  return reply;
}

function paramsOf({ params }: FastifyRequest): Readonly<Record<string, string>> {
  return typeof params === 'object' && params !== null ? textsOf(params) : {};
}

function textsOf(fields: object): Record<string, string> {
  const texts = Object.entries(fields).filter((entry): entry is [string, string] => {
    return typeof entry[1] === 'string';
  });
  return Object.fromEntries(texts);
}

function queryOf(request: FastifyRequest): URLSearchParams {
  return new URLSearchParams(request.url.split('?', 2)[1] ?? '');
}
