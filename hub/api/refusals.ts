import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Logger } from '../../proto/ops/logger.ts';
import { ApiError, asApiError } from './errors.ts';

/** Answers with what was thrown, in the shape of all refusals of the API. */
export function refuseWith(err: unknown, reply: FastifyReply, logger: Logger): FastifyReply {
  const { code, status, message, retryAfterS } = asApiError(err);
  if (status >= 500 && status !== 503) logger.warn({ err }, 'administration failed');
  if (status === 401) reply.header('www-authenticate', 'Basic realm="flotilla"');
  if (retryAfterS !== undefined) reply.header('retry-after', retryAfterS);
  return reply.code(status).type('application/json').send({ error: { code, message } });
}

/** Whatever is no route of the hub, and what a route without an answer of its own throws. */
export function answerUnknownPaths(app: FastifyInstance, logger: Logger): void {
  app.setErrorHandler((err, _request, reply) => refuseWith(err, reply, logger));
  app.setNotFoundHandler((_request, reply) =>
    refuseWith(new ApiError('NOT_FOUND', 'there is nothing at this path'), reply, logger),
  );
}
