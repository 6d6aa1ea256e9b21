import type { IncomingMessage } from 'node:http';
import { ociError } from '../../proto/oci/errors.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { ACCESS_TOKEN_SERVICE } from '../../proto/trust/access-token.ts';
import type { Access, Identity } from '../access/access.ts';
import { projectOf } from '../access/project.ts';
import { subjectText } from '../access/rights.ts';
import type { Catalog } from '../catalog/port.ts';
import type { RegistryAction, RegistryGuard } from '../registry/registry.ts';
import type { BaseUrl } from './base-url.ts';
import { visibleRepositories } from './visible.ts';

export const TOKEN_PATH = '/api/token';
export const TOKEN_SERVICE = ACCESS_TOKEN_SERVICE;

/** Also what a client reads that sent no credentials: it asked for a token, as nobody. */
const NOT_ALLOWED = 'these credentials, or none, do not allow this';

/**
 * Answers for the registry who may do what, out of the Authorization header. Who may not read a
 * repository cannot tell whether it is there: without a password, both are 401; with one, 404.
 */
export function createGuard(modules: {
  access: Access;
  baseUrl: BaseUrl;
  callerOf: (request: IncomingMessage) => string;
  catalog: Pick<Catalog, 'repositories'>;
}): RegistryGuard {
  const { access, baseUrl, catalog } = modules;
  /** Requests whose token was good and says too little. */
  const tooLittle = new WeakSet<IncomingMessage>();
  const identify = async (request: IncomingMessage): Promise<Identity> => {
    try {
      const from = { address: modules.callerOf(request) };
      return await access.identify(request.headers.authorization, from);
    } catch (err) {
      throw refusalOf(err);
    }
  };
  const refuse = (request: IncomingMessage, identity: Identity, isVisible: boolean): Error => {
    if (identity.grants !== undefined) {
      tooLittle.add(request);
      return unauthorised(NOT_ALLOWED);
    }
    if (identity.subject.kind === 'anonymous') {
      return unauthorised('credentials are needed for this');
    }
    if (isVisible) return ociError('DENIED', NOT_ALLOWED);
    return ociError('NAME_UNKNOWN', 'no such repository, or not with these credentials');
  };
  return {
    check: async (request, { repository, action }) => {
      const identity = await identify(request);
      if (action === 'any') {
        const isNobody = identity.subject.kind === 'anonymous' && identity.grants === undefined;
        if (isNobody) throw unauthorised('credentials are needed for this');
        return;
      }
      if (repository === undefined) return;
      const may = await access.actions(identity, repository);
      if (!may.includes(action)) throw refuse(request, identity, may.includes('pull'));
      if (action === 'push') await access.adoptProject(identity, repository);
    },
    subjectOf: async (request) => subjectText((await identify(request)).subject),
    visibleTo: async (request) => {
      const identity = await identify(request);
      if (identity.subject.kind === 'admin' && access.mayList(identity)) return catalog;
      const { subject, epoch } = identity;
      const listed: Identity = access.mayList(identity) ? { subject, epoch } : identity;
      return visibleRepositories(catalog, async (repository) => {
        if ((await access.actions(listed, repository)).includes('pull')) return 'visible';
        return hasPartOf(listed, projectOf(repository)) ? 'hidden' : 'all-hidden';
      });
    },
    challenge: (request, { repository, action }) => {
      const realm = `${baseUrl(request)}${TOKEN_PATH}`;
      const scope = repository === undefined ? '' : scopeOf(repository, action);
      const error = tooLittle.has(request) ? ',error="insufficient_scope"' : '';
      return `Bearer realm="${realm}",service="${TOKEN_SERVICE}"${scope}${error}`;
    },
  };
}

/** Whether it may be allowed some repositories of a project and others not. */
function hasPartOf({ subject, grants = [] }: Identity, project: string): boolean {
  if (subject.kind === 'robot' && subject.project === project) return true;
  return grants.some(({ type, name }) => type === 'repository' && projectOf(name) === project);
}

const SCOPE_ACTIONS: Record<RegistryAction, string> = {
  any: 'pull',
  pull: 'pull',
  push: 'pull,push',
  delete: 'pull,push,delete',
};

function scopeOf(repository: string, action: RegistryAction): string {
  return `,scope="repository:${repository}:${SCOPE_ACTIONS[action]}"`;
}

function refusalOf(err: unknown): unknown {
  if (hasCode(err, 'BAD_CREDENTIALS')) return unauthorised('wrong or expired credentials', err);
  if (hasCode(err, 'THROTTLED')) {
    return ociError('TOOMANYREQUESTS', messageOf(err), { cause: err });
  }
  if (hasCode(err, 'BUSY')) return ociError('UNAVAILABLE', messageOf(err), { cause: err });
  return err;
}

function unauthorised(message: string, cause?: unknown): Error {
  return ociError('UNAUTHORIZED', message, { cause });
}
