import type { IncomingMessage } from 'node:http';
import { ociError } from '../../proto/oci/errors.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { Access } from '../access/access.ts';
import type { RegistryGuard } from '../registry/registry.ts';
import type { BaseUrl } from './base-url.ts';

export const TOKEN_PATH = '/api/token';
export const TOKEN_SERVICE = 'flotilla';

/** Also what a client reads that sent no credentials: it asked for a token, as nobody. */
const NOT_ALLOWED = 'these credentials, or none, do not allow this; only the admin pushes';

/** Answers for the registry who may pull and push, out of the Authorization header. */
export function createGuard(modules: { access: Access; baseUrl: BaseUrl }): RegistryGuard {
  const { access, baseUrl } = modules;
  return {
    check: async (request, { repository, action }) => {
      const identity = await identify(access, request);
      const allowed =
        action === 'any'
          ? identity.kind !== 'anonymous'
          : repository === undefined
            ? action === 'pull'
            : action === 'pull'
              ? access.mayPull(identity, repository)
              : access.mayPush(identity, repository);
      if (allowed) return;
      if (identity.kind === 'anonymous') throw unauthorised('credentials are needed for this');
      throw unauthorised(NOT_ALLOWED);
    },
    subjectOf: async (request) => {
      const identity = await identify(access, request);
      return identity.kind === 'bearer' ? identity.subject : identity.kind;
    },
    challenge: (request, { repository, push }) => {
      const realm = `${baseUrl(request)}${TOKEN_PATH}`;
      const actions = push ? 'pull,push' : 'pull';
      const scope = repository === undefined ? '' : `,scope="repository:${repository}:${actions}"`;
      return `Bearer realm="${realm}",service="${TOKEN_SERVICE}"${scope}`;
    },
  };
}

async function identify(access: Access, request: IncomingMessage) {
  try {
    return await access.identify(request.headers.authorization);
  } catch (err) {
    if (hasCode(err, 'BAD_CREDENTIALS')) throw unauthorised('wrong or expired credentials', err);
    throw err;
  }
}

function unauthorised(message: string, cause?: unknown): Error {
  return ociError('UNAUTHORIZED', message, { cause });
}
