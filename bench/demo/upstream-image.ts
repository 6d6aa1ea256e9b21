import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { wellKnownHosts } from '../../proto/distribution/well-known.ts';
import { parseManifest, type Descriptor } from '../../proto/oci/manifest.ts';
import { parseImageReference, parseReference, type Repository } from '../../proto/oci/name.ts';
import type { ImageBlob, PushableImage } from './generated-image.ts';

const API_HOSTS: Record<string, string> = { 'docker.io': 'registry-1.docker.io' };
const INDEX_DEPTH_MAX = 3;

/**
 * Finds `text` (as one would write it for `docker pull`) at its upstream and returns the image for
 * linux/amd64. Blobs are streamed from the upstream when they are read. `close` ends the
 * connections.
 *
 * @throws DistributionError when the upstream cannot be reached or refuses.
 * @throws Error when the reference names no image for linux/amd64.
 */
export async function upstreamImage(
  text: string,
  signal: AbortSignal,
): Promise<{ image: PushableImage; close: () => Promise<void> }> {
  const ref = parseImageReference(text);
  const host = API_HOSTS[ref.host] ?? ref.host;
  const local = /^(localhost|127\.|\[::1\])/.test(host);
  const baseUrl = `${local ? 'http' : 'https'}://${host}`;
  const known = wellKnownHosts(baseUrl);
  const client = new RegistryClient({ baseUrl, allowPlainHttp: local, ...known });
  let reference = parseReference(ref.digest ?? ref.tag ?? 'latest');
  for (let depth = 0; depth < INDEX_DEPTH_MAX; depth += 1) {
    const got = await client.getManifest(ref.repository, reference, { signal });
    if (!got) throw new Error(`${text}: the upstream has no such image`);
    const manifest = parseManifest(got.bytes, got.mediaType);
    if (manifest.kind === 'image') {
      const parts = [...(manifest.config ? [manifest.config] : []), ...manifest.layers];
      const blobs = parts.map((part) => upstreamBlob(client, ref.repository, part, signal));
      const image = { blobs, manifest: got.bytes, mediaType: manifest.mediaType };
      return { image, close: () => client.close() };
    }
    const child = manifest.manifests.find(
      ({ platform }) => platform?.os === 'linux' && platform.architecture === 'amd64',
    );
    if (!child) throw new Error(`${text}: the index has no image for linux/amd64`);
    reference = parseReference(child.digest);
  }
  throw new Error(`${text}: indexes are nested more than ${INDEX_DEPTH_MAX} deep`);
}

function upstreamBlob(
  client: RegistryClient,
  repository: Repository,
  part: Descriptor,
  signal: AbortSignal,
): ImageBlob {
  async function* read(): AsyncGenerator<Buffer> {
    const response = await client.openBlob(repository, part.digest, { signal });
    if (!response) throw new Error(`the upstream lost blob ${part.digest}`);
    yield* response.body;
  }
  return { digest: part.digest, size: part.size, read };
}
