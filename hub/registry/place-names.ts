import type { IncomingMessage } from 'node:http';
import { ociError } from '../../proto/oci/errors.ts';
import { canonicalHost, parseRepository } from '../../proto/oci/name.ts';
import type { RegistryRoute } from '../../proto/oci/routes.ts';
import type { UpstreamPlace } from '../upstream/port.ts';
import type { PullThrough } from './pull-through.ts';

/** A path with the name that rights are asked by, and what of an upstream it stands for. */
export type NamedRoute = { route: RegistryRoute; place: UpstreamPlace | undefined };

/** Whether a client that names this host means the hub it asks. */
export function isOwnHost(
  namespace: string,
  { headers }: Pick<IncomingMessage, 'headers'>,
  names: ReadonlySet<string>,
): boolean {
  return namespace === headers.host || names.has(canonicalHost(namespace));
}

/**
 * The same path under the one name that a repository has here, whichever of its names was used:
 * below the host of an upstream, below an alias of it, or with `ns` (distribution-spec "Proxying").
 * @throws OciError NAME_UNKNOWN for a host that is neither us nor an upstream
 */
export function namedRoute(
  route: RegistryRoute,
  namespace: string | undefined,
  { upstreams }: Pick<PullThrough, 'upstreams'>,
): NamedRoute {
  if (!('repository' in route)) return { route, place: undefined };
  const place = upstreams.placeOf(
    parseRepository(fullName(route.repository, namespace, upstreams)),
  );
  if (place === undefined) return { route, place };
  return { route: { ...route, repository: place.repository }, place };
}

function fullName(
  repository: string,
  namespace: string | undefined,
  upstreams: PullThrough['upstreams'],
): string {
  if (namespace === undefined) return repository;
  const host = upstreams.nameOf(namespace);
  if (host === undefined) {
    throw ociError('NAME_UNKNOWN', `"${namespace}" is neither this hub nor an upstream of it`);
  }
  const slash = repository.indexOf('/');
  const prefix = slash < 0 ? undefined : upstreams.nameOf(repository.slice(0, slash));
  return prefix === host ? repository : `${host}/${repository}`;
}
