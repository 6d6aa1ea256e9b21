import type { IncomingMessage } from 'node:http';
import { ociError } from '../../proto/oci/errors.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { Access } from '../access/access.ts';
import type { RegistryGuard } from '../registry/registry.ts';

export const TOKEN_PATH = '/api/token';
export const TOKEN_SERVICE = 'flotilla';

const HOST = /^(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::\d{1,5})?$/;

/** Answers for the registry who may pull and push, out of the Authorization header. */
export function createGuard(
  options: { externalUrl: string | undefined; tls: boolean },
  modules: { access: Access },
): RegistryGuard {
  const { access } = modules;
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
      throw unauthorised('these credentials do not allow this');
    },
    challenge: (request, { repository, push }) => {
      const realm = `${baseUrl(request, options)}${TOKEN_PATH}`;
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

function baseUrl(
  request: IncomingMessage,
  { externalUrl, tls }: { externalUrl: string | undefined; tls: boolean },
): string {
  if (externalUrl !== undefined) return externalUrl.replace(/\/+$/, '');
  const host = request.headers.host ?? '';
  return `${tls ? 'https' : 'http'}://${HOST.test(host) ? host : 'localhost'}`;
}
