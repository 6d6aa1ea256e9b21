/** Registries whose API is at another host than the one in image names. */
const API_HOSTS = new Map([['docker.io', 'registry-1.docker.io']]);

/**
 * Where a registry is reached when the configuration names only its host. What hosts a public one
 * works with besides its own is in wellKnownHosts.
 */
export function presetUrl(host: string): string {
  return `https://${API_HOSTS.get(host) ?? host}`;
}

/** What Docker Hub calls repositories of one word. */
const HUB = 'docker.io';
const HUB_DEFAULT = 'library';

/** A repository as its registry names it: Docker Hub's names of one word are below `library/`. */
export function remoteName(host: string, repository: string): string {
  const isShort = host === HUB && !repository.includes('/');
  return isShort ? `${HUB_DEFAULT}/${repository}` : repository;
}
