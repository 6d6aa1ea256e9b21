import type { FastifyInstance, FastifyReply } from 'fastify';
import { parseBody } from '../../proto/hubapi/body.ts';
import {
  JOIN_TOKENS_PATH,
  JOIN_TOKEN_BODY_MAX_BYTES,
  JoinTokenRequest,
} from '../../proto/hubapi/join-tokens.ts';
import type { JoinTokenResponse } from '../../proto/hubapi/join-tokens.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';

export type JoinTokenRouteModules = {
  createJoinToken(options: { expiresInMs: number; uses: number }): Promise<string>;
  /** Whether this Authorization header is the administrator's. */
  isAdmin(authorization: string | undefined): boolean | Promise<boolean>;
  logger: Logger;
};

/** Adds POST /api/v1/join-tokens: 201 with a token, 401 for anybody but the administrator. */
export function registerJoinTokenRoutes(
  app: FastifyInstance,
  modules: JoinTokenRouteModules,
): void {
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
      done(null, body),
    );
    scope.setErrorHandler((err, _request, reply) => refuse(err, reply, modules.logger));
    scope.route({
      method: 'POST',
      url: JOIN_TOKENS_PATH,
      bodyLimit: JOIN_TOKEN_BODY_MAX_BYTES,
      // Before the body is read: a stranger's bytes are not worth keeping.
      onRequest: async (request, reply) => {
        if (await modules.isAdmin(request.headers.authorization)) return;
        await reply
          .code(401)
          .header('www-authenticate', 'Basic realm="flotilla"')
          .send(errorBody('UNAUTHORIZED', 'only the administrator makes join tokens'));
      },
      handler: async (request, reply) => {
        const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
        const { uses, expiresInMs } = parseBody(JoinTokenRequest, bytes);
        const answer: JoinTokenResponse = {
          token: await modules.createJoinToken({ uses, expiresInMs }),
        };
        modules.logger.info({ uses, expiresInMs }, 'join token made');
        return reply.code(201).header('cache-control', 'no-store').send(answer);
      },
    });
  });
}

function refuse(err: unknown, reply: FastifyReply, logger: Logger): FastifyReply {
  if (hasCode(err, 'INVALID_BODY', 'FST_ERR_CTP_INVALID_MEDIA_TYPE')) {
    return reply.code(400).send(errorBody('INVALID_BODY', messageOf(err)));
  }
  if (hasCode(err, 'FST_ERR_CTP_BODY_TOO_LARGE')) {
    return reply.code(413).send(errorBody('BODY_TOO_LARGE', messageOf(err)));
  }
  if (hasCode(err, 'FLEET_FULL')) {
    return reply.code(503).send(errorBody('FLEET_FULL', messageOf(err)));
  }
  logger.warn({ err }, 'join token could not be made');
  return reply.code(500).send(errorBody('INTERNAL', 'the hub failed; its log says why'));
}

function errorBody(code: string, message: string): { error: { code: string; message: string } } {
  return { error: { code, message } };
}
