import type { FastifyInstance, FastifyReply } from 'fastify';
import { hasCode } from '../../proto/std/errors.ts';
import type { Access } from '../access/access.ts';
import { TOKEN_PATH } from './guard.ts';

const FORM_MAX_BYTES = 16_384;
const SCOPES_MAX = 32;

/** Adds the Docker token service: GET with Basic or without, POST with an OAuth2 password form. */
export function registerTokenRoutes(app: FastifyInstance, modules: { access: Access }): void {
  const { access } = modules;
  const issue = async (
    authorization: string | undefined,
    wish: URLSearchParams,
    reply: FastifyReply,
  ): Promise<FastifyReply> => {
    const scopes = wish
      .getAll('scope')
      .flatMap((text) => text.split(' '))
      .filter((text) => text !== '');
    try {
      const identity = await access.identify(authorization);
      const service = wish.get('service') ?? '';
      const token = await access.issueToken(identity, scopes.slice(0, SCOPES_MAX), service);
      return await reply.header('cache-control', 'no-store').send({
        token: token.token,
        access_token: token.token,
        expires_in: token.expiresIn,
        issued_at: token.issuedAt,
        scope: token.scope,
      });
    } catch (err) {
      if (!hasCode(err, 'BAD_CREDENTIALS')) throw err;
      const errors = [{ code: 'UNAUTHORIZED', message: 'wrong user name or password' }];
      return reply.code(401).send({ errors });
    }
  };
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      '*',
      { parseAs: 'string', bodyLimit: FORM_MAX_BYTES },
      (_r, body, done) => done(null, body),
    );
    scope.get(TOKEN_PATH, (request, reply) => {
      const search = request.url.split('?', 2)[1] ?? '';
      return issue(request.headers.authorization, new URLSearchParams(search), reply);
    });
    scope.post(TOKEN_PATH, (request, reply) => {
      const form = new URLSearchParams(typeof request.body === 'string' ? request.body : '');
      const user = form.get('username') ?? '';
      const password = form.get('password') ?? '';
      if (form.get('grant_type') !== 'password') {
        return reply.code(400).send({ error: 'unsupported_grant_type' });
      }
      const basic = Buffer.from(`${user}:${password}`).toString('base64');
      return issue(`Basic ${basic}`, form, reply);
    });
  });
}
