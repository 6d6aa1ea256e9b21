import type { Digest } from '../../proto/oci/digest.ts';
import { isForeignLayer, parseManifest, type ParsedManifest } from '../../proto/oci/manifest.ts';
import type { Descriptor } from '../../proto/oci/manifest.ts';
import { BLOBS_MAX, INDEX_DEPTH_MAX, MANIFESTS_MAX } from './constants.ts';
import { PrefetchError } from './errors.ts';
import { forPlatforms, platformsOf } from './platforms.ts';

export type ImageTree = {
  /** Blobs with their sizes, each once, in the order images use them. */
  blobs: ReadonlyMap<Digest, number>;
};

/**
 * All blobs of an image, of an index those of the wanted platforms. `read` gives a manifest;
 * undefined: it is not there.
 * @throws PrefetchError NOT_THERE, NO_PLATFORM, NO_IMAGE; what `read` rejects with
 */
export async function imageTree(
  root: Digest,
  platforms: readonly string[],
  read: (digest: Digest) => Promise<Buffer | undefined>,
): Promise<ImageTree> {
  const blobs = new Map<Digest, number>();
  const seen = new Set<Digest>();
  const visit = async (digest: Digest, depth: number): Promise<void> => {
    if (seen.has(digest)) return;
    seen.add(digest);
    if (seen.size > MANIFESTS_MAX || depth > INDEX_DEPTH_MAX) throw tooMuch(root);
    const bytes = await read(digest);
    if (bytes === undefined) {
      const message = `manifest ${digest} is not there, or not for this node`;
      throw new PrefetchError(message, { code: 'NOT_THERE', digest });
    }
    const { config, layers, manifests } = parsed(bytes, digest);
    for (const blob of [...(config === undefined ? [] : [config]), ...layers]) add(blob);
    // oxlint-disable-next-line no-await-in-loop -- one after the other, behind all else
    for (const one of wantedOf(manifests, platforms)) await visit(one.digest, depth + 1);
  };
  const add = (blob: Descriptor): void => {
    if (isForeignLayer(blob)) return;
    blobs.set(blob.digest, blob.size);
    if (blobs.size > BLOBS_MAX) throw tooMuch(root);
  };
  await visit(root, 0);
  return { blobs };
}

function parsed(bytes: Buffer, digest: Digest): ParsedManifest {
  try {
    return parseManifest(bytes);
  } catch (cause) {
    const message = `${digest} is no image that can be read`;
    throw new PrefetchError(message, { code: 'NO_IMAGE', digest }, { cause });
  }
}

function wantedOf(manifests: readonly Descriptor[], platforms: readonly string[]): Descriptor[] {
  const wanted = forPlatforms(manifests, platforms);
  if (wanted.length > 0 || manifests.length === 0) return wanted;
  const has = platformsOf(manifests);
  const message = `the image has nothing for ${platforms.join(', ')}; it has ${has}`;
  throw new PrefetchError(message, { code: 'NO_PLATFORM' });
}

function tooMuch(digest: Digest): PrefetchError {
  return new PrefetchError(`${digest} is more than one image`, { code: 'NO_IMAGE', digest });
}
