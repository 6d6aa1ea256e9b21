import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { Access, IssuedToken, TokenWish } from '../access/access.ts';
import { AccessError } from '../access/errors.ts';
import { RETRY_AFTER_S } from '../registry/constants.ts';
import { TOKEN_FORM_MAX_BYTES } from './constants.ts';
import { TOKEN_PATH, TOKEN_SERVICE } from './guard.ts';

type TokenModules = { access: Access; callerOf: (request: IncomingMessage) => string };

/**
 * Adds the Docker token service: GET with Basic or without, POST with an OAuth2 form of a password
 * or a refresh token (RFC 6749 sections 4.3 and 6).
 */
export function registerTokenRoutes(app: FastifyInstance, modules: TokenModules): void {
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      '*',
      { parseAs: 'string', bodyLimit: TOKEN_FORM_MAX_BYTES },
      (_r, body, done) => done(null, body),
    );
    scope.get(TOKEN_PATH, (request, reply) => {
      const query = new URLSearchParams(request.url.split('?', 2)[1] ?? '');
      const wish = wishOf(query, query.get('offline_token') === 'true');
      return answer(reply, () => byHeader(modules, request, wish));
    });
    scope.post(TOKEN_PATH, (request, reply) => {
      const form = new URLSearchParams(typeof request.body === 'string' ? request.body : '');
      const wish = wishOf(form, form.get('access_type') === 'offline');
      switch (form.get('grant_type')) {
        case 'password':
          return answer(reply, () => byPassword(modules, request, form, wish));
        case 'refresh_token':
          return answer(reply, () => modules.access.refresh(form.get('refresh_token') ?? '', wish));
        default:
          return reply.code(400).send({ error: 'unsupported_grant_type' });
      }
    });
  });
}

function wishOf(fields: URLSearchParams, offline: boolean): TokenWish {
  const scopes = fields
    .getAll('scope')
    .flatMap((text) => text.split(' '))
    .filter((text) => text !== '');
  // It is stored with a refresh token, and PostgreSQL takes no NUL.
  const service = (fields.get('service') ?? '').replaceAll('\0', '');
  return { scopes, service: service === '' ? TOKEN_SERVICE : service, offline };
}

async function byHeader(
  { access, callerOf }: TokenModules,
  request: FastifyRequest,
  wish: TokenWish,
): Promise<IssuedToken> {
  const from = { address: callerOf(request.raw) };
  return access.issueToken(await access.identify(request.headers.authorization, from), wish);
}

async function byPassword(
  { access, callerOf }: TokenModules,
  request: FastifyRequest,
  form: URLSearchParams,
  wish: TokenWish,
): Promise<IssuedToken> {
  const user = form.get('username') ?? '';
  // Basic has no other colon than the one after the name.
  if (user === '' || user.includes(':')) {
    throw new AccessError('the form names no user', { code: 'BAD_CREDENTIALS' });
  }
  const basic = Buffer.from(`${user}:${form.get('password') ?? ''}`).toString('base64');
  const from = { address: callerOf(request.raw) };
  return access.issueToken(await access.identify(`Basic ${basic}`, from), wish);
}

async function answer(
  reply: FastifyReply,
  issue: () => Promise<IssuedToken>,
): Promise<FastifyReply> {
  reply.header('cache-control', 'no-store');
  try {
    const issued = await issue();
    return await reply.send({
      token: issued.token,
      access_token: issued.token,
      expires_in: issued.expiresIn,
      issued_at: issued.issuedAt,
      scope: issued.scope,
      ...(issued.refreshToken === undefined ? {} : { refresh_token: issued.refreshToken }),
    });
  } catch (err) {
    return refuse(reply, err);
  }
}

function refuse(reply: FastifyReply, err: unknown): FastifyReply {
  const send = (status: number, code: string, message: string): FastifyReply =>
    reply.code(status).send({ errors: [{ code, message }] });
  if (hasCode(err, 'BAD_CREDENTIALS')) {
    return send(401, 'UNAUTHORIZED', 'wrong user name, password or refresh token');
  }
  if (err instanceof AccessError && err.data.code === 'THROTTLED') {
    reply.header('retry-after', Math.ceil(err.data.waitMs / 1000));
    return send(429, 'TOOMANYREQUESTS', err.message);
  }
  if (hasCode(err, 'BUSY')) {
    reply.header('retry-after', 1);
    return send(503, 'UNAVAILABLE', messageOf(err));
  }
  if (hasCode(err, 'CATALOG_UNAVAILABLE')) {
    reply.header('retry-after', RETRY_AFTER_S);
    return send(503, 'UNAVAILABLE', 'the catalog of the hub does not answer now; try again');
  }
  throw err;
}
