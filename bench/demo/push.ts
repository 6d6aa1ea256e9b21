import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { parseReference, parseRepository } from '../../proto/oci/name.ts';
import type { PushableImage } from './generated-image.ts';

/** Where an image goes, and as whom. */
export type PushTarget = {
  url: string;
  credentials: { username: string; password: string };
  repository: string;
  tag: string;
};

/**
 * Pushes an image over plain HTTP; returns the bytes of its blobs and manifest.
 * @throws DistributionError, OciError for a wrong name, the reason of the signal
 */
export async function pushImage(
  { url, credentials, repository, tag }: PushTarget,
  image: PushableImage,
  signal: AbortSignal,
): Promise<number> {
  const client = new RegistryClient({ baseUrl: url, allowPlainHttp: true, credentials });
  const name = parseRepository(repository);
  try {
    for (const { digest, size, read } of image.blobs) {
      const source = async function* (): AsyncGenerator<Buffer> {
        yield* read();
      };
      // oxlint-disable-next-line no-await-in-loop -- one blob after the other
      await client.pushBlob(name, digest, size, source, { signal });
    }
    const { manifest, mediaType } = image;
    await client.pushManifest(name, parseReference(tag), manifest, mediaType, { signal });
  } finally {
    await client.close();
  }
  return image.blobs.reduce((total, { size }) => total + size, image.manifest.length);
}
