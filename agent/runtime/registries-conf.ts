/** One registry that CRI-O, podman, buildah and skopeo read through the mirror. */
export type RegistryMirror = {
  /** Registry host as in image names, such as `docker.io` or `hub.example:7400`. */
  registryHost: string;
  /** `host:port` of this node's mirror, such as `127.0.0.1:7410`. */
  mirrorAddress: string;
  /**
   * These clients send no namespace, so the mirror's path must tell the upstream: its host
   * without a port, or its alias. Absent for the hub, which is what a bare path means.
   */
  upstreamPath?: string | undefined;
  /** Whether the registry itself speaks plain http. */
  insecureRegistry?: boolean | undefined;
};

const PATH_SEGMENT = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;

/**
 * Text of a drop-in for `/etc/containers/registries.conf.d/`. The mirror is asked over plain http
 * on loopback; when it has no answer, the client goes to the registry itself.
 * @throws RangeError when `upstreamPath` cannot be a path segment; give the upstream an alias
 */
export function registriesConf(mirrors: readonly RegistryMirror[]): string {
  return mirrors.map(registryEntry).join('\n');
}

function registryEntry(mirror: RegistryMirror): string {
  const { registryHost, mirrorAddress, upstreamPath, insecureRegistry } = mirror;
  if (upstreamPath !== undefined && !PATH_SEGMENT.test(upstreamPath)) {
    throw new RangeError(`"${upstreamPath}" cannot be part of a path; configure an alias for it`);
  }
  const location = upstreamPath === undefined ? mirrorAddress : `${mirrorAddress}/${upstreamPath}`;
  return [
    '[[registry]]',
    `prefix = ${JSON.stringify(registryHost)}`,
    `location = ${JSON.stringify(registryHost)}`,
    ...(insecureRegistry === true ? ['insecure = true'] : []),
    '',
    '[[registry.mirror]]',
    `location = ${JSON.stringify(location)}`,
    'insecure = true',
    '',
  ].join('\n');
}
