import { canonicalHost, parseReference, parseRepository } from '../../proto/oci/name.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import { deadline } from '../../proto/std/abort.ts';
import type { Catalog } from '../catalog/port.ts';
import { RESOLVE_TIMEOUT_MS } from './constants.ts';
import { unknown } from './errors.ts';
import type { Images } from './ports.ts';

/** A repository with what is wanted of it. */
export type NamedImage = { repository: Repository; reference: Reference };

/** The images of the catalog; `names` are hosts in image names that mean this hub. */
export function catalogImages(
  options: { names: readonly string[] },
  modules: { catalog: Pick<Catalog, 'tagged' | 'manifest' | 'tags'> },
): Images {
  const own = new Set(options.names.map(canonicalHost));
  const { catalog } = modules;
  return {
    repositoryOf: (name) => {
      const slash = name.indexOf('/');
      const host = slash < 0 ? '' : canonicalHost(name.slice(0, slash));
      return parseRepository(own.has(host) ? name.slice(slash + 1) : name);
    },
    resolve: async (repository, reference) => {
      if (reference.kind === 'tag') return catalog.tagged(repository, reference.tag);
      return (await catalog.manifest(repository, reference))?.digest;
    },
    tags: (repository, page) => catalog.tags(repository, page),
  };
}

/**
 * What an image name means here: a digest goes before a tag, and without either it is `latest`.
 * @throws OciError NAME_INVALID, TAG_INVALID, DIGEST_INVALID
 */
export function imageOf(text: string, images: Pick<Images, 'repositoryOf'>): NamedImage {
  const at = text.indexOf('@');
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const isTagged = colon > named.lastIndexOf('/');
  const repository = images.repositoryOf(isTagged ? named.slice(0, colon) : named);
  if (at >= 0) return { repository, reference: parseReference(text.slice(at + 1)) };
  return { repository, reference: parseReference(isTagged ? named.slice(colon + 1) : 'latest') };
}

/** @throws PrefetchError UNKNOWN; what asking for it rejects with */
export async function digestOfImage(image: NamedImage, images: Images): Promise<Digest> {
  using limit = deadline(RESOLVE_TIMEOUT_MS);
  const { repository, reference } = image;
  const digest = await images.resolve(repository, reference, { signal: limit.signal });
  if (digest !== undefined) return digest;
  throw unknown(`there is no such image in ${repository}`);
}
