/** Hosts a registry works with besides its own. */
export type RegistryHosts = { tokenHosts: readonly string[]; redirectHosts: readonly string[] };

const NONE: RegistryHosts = { tokenHosts: [], redirectHosts: [] };

/** Public registries that give out tokens or blobs at other hosts, as their operators publish. */
const WELL_KNOWN = new Map<string, RegistryHosts>([
  [
    'registry-1.docker.io',
    {
      tokenHosts: ['auth.docker.io'],
      redirectHosts: [
        'production.cloudflare.docker.com',
        'production.cloudfront.docker.com',
        'docker-images-prod.r2.cloudflarestorage.com',
        'docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com',
      ],
    },
  ],
  ['ghcr.io', { tokenHosts: [], redirectHosts: ['pkg-containers.githubusercontent.com'] }],
  ['quay.io', { tokenHosts: [], redirectHosts: ['*.quay.io'] }],
  ['gcr.io', { tokenHosts: [], redirectHosts: ['storage.googleapis.com', '*.pkg.dev'] }],
  // Sends each client to the nearest of many mirrors, manifests included.
  ['registry.k8s.io', { tokenHosts: [], redirectHosts: ['*.pkg.dev', '*.amazonaws.com'] }],
  [
    'public.ecr.aws',
    {
      tokenHosts: [],
      redirectHosts: ['d2glxqk2uabbnd.cloudfront.net', 'd5l0dvt14r5h8.cloudfront.net'],
    },
  ],
]);

/** The hosts of a well-known registry reached at `url` over https; none of any other. */
export function wellKnownHosts(url: string): RegistryHosts {
  const { protocol, host } = URL.canParse(url) ? new URL(url) : { protocol: '', host: '' };
  return (protocol === 'https:' ? WELL_KNOWN.get(host) : undefined) ?? NONE;
}
