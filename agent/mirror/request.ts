import type { Digest } from '../../proto/oci/digest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import { parseRegistryRoute } from '../../proto/oci/routes.ts';
import { URL_MAX_CHARS } from './constants.ts';
import { MirrorError, notFound } from './errors.ts';
import { resolveNamespace } from './namespace.ts';
import type { NamespaceRules, Target } from './namespace.ts';

/** A request that was understood. */
export type MirrorRequest =
  | { kind: 'base' }
  | { kind: 'manifest'; target: Target; repository: Repository; reference: Reference }
  | { kind: 'blob'; target: Target; repository: Repository; digest: Digest };

/**
 * Reads method and raw request target. Only what runtimes need for a pull is known here.
 * @throws MirrorError BAD_REQUEST, NOT_FOUND, UNSUPPORTED; OciError for malformed names
 */
export function parseMirrorRequest(
  method: string,
  rawUrl: string,
  rules: NamespaceRules,
): MirrorRequest {
  if (method !== 'GET' && method !== 'HEAD') {
    throw new MirrorError('a mirror answers GET and HEAD only; push to the hub', {
      code: 'UNSUPPORTED',
      what: 'method',
    });
  }
  if (rawUrl.length > URL_MAX_CHARS) throw badRequest('request target is too long');
  const found = resolveNamespace(rawUrl, rules);
  if (found.kind === 'invalid') throw badRequest(found.reason);
  const route = found.kind === 'unknown' && isBase(found.path) ? undefined : found;
  if (route === undefined) return { kind: 'base' };
  if (route.kind === 'unknown') throw notFound('namespace');
  const parsed = parseRegistryRoute(route.path);
  const { target } = route;
  switch (parsed.kind) {
    case 'base':
      return { kind: 'base' };
    case 'manifest':
      return {
        kind: 'manifest',
        target,
        repository: parsed.repository,
        reference: parsed.reference,
      };
    case 'blob':
      return { kind: 'blob', target, repository: parsed.repository, digest: parsed.digest };
    default:
      throw new MirrorError('a mirror has manifests and blobs only; ask the registry itself', {
        code: 'UNSUPPORTED',
        what: parsed.kind,
      });
  }
}

/** `/v2/` tells only that a registry is here, whatever the namespace. */
function isBase(path: string): boolean {
  return path === '/v2/' || path === '/v2';
}

function badRequest(reason: string): MirrorError {
  return new MirrorError(reason, { code: 'BAD_REQUEST', reason });
}
