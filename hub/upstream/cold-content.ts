import type { Digest } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { BlobLink, Catalog } from '../catalog/port.ts';
import type { UpstreamPlace, Upstreams } from './port.ts';
import { TAG_KNOWN_MS } from './pull-constants.ts';
import type { UpstreamStore } from './store.ts';
import type { UpstreamTags } from './tags.ts';

type Modules = {
  catalog: Pick<Catalog, 'blobIn' | 'blobChunks' | 'reachable' | 'tagged'>;
  store: Pick<UpstreamStore, 'coldBlob' | 'tagCheck'>;
  upstreams: Pick<Upstreams, 'placeOf'>;
  /** ms since 1970. */
  now: () => number;
  /** What upstreams said of tags whose manifests are still to come. */
  told?: UpstreamTags['told'];
};

/**
 * The catalog as the fleet sees it. Of an upstream's repository, blobs count too that a manifest of
 * it names and that nobody has: agents are granted them, and announce them, while they come.
 */
export function coldCatalog({ catalog, store, upstreams, now, told }: Modules) {
  return {
    blobChunks: (digest: Digest) => catalog.blobChunks(digest),
    /** A tag of an upstream only while this hub knows that it is so: what is signed has a time. */
    tagged: async (repository: string, tag: string): Promise<Digest | undefined> => {
      const place = placeOf(repository, upstreams);
      if (place === undefined) return catalog.tagged(repository, tag);
      const { freshness } = place.policy;
      const isPinned = freshness.kind === 'pinned';
      const knownMs = Math.max(TAG_KNOWN_MS, freshness.kind === 'ttl' ? freshness.ms : 0);
      const isKnown = (atMs: number): boolean => isPinned || now() - atMs <= knownMs;
      const check = await store.tagCheck(repository, tag);
      const said = told?.(place, tag);
      // An agent asks for the statement as soon as a HEAD was answered.
      if (said !== undefined && (check === undefined || said.askedAtMs > check.checkedAtMs)) {
        return isKnown(said.askedAtMs) ? said.digest : undefined;
      }
      if (!isPinned && (check === undefined || !isKnown(check.checkedAtMs))) return undefined;
      return catalog.tagged(repository, tag);
    },
    blobIn: async (repository: string, digest: Digest): Promise<BlobLink | undefined> => {
      const known = await catalog.blobIn(repository, digest);
      if (known !== undefined || placeOf(repository, upstreams) === undefined) return known;
      const size = await store.coldBlob(repository, digest);
      return size === undefined ? undefined : { size };
    },
    reachable: (repository: string, digest: Digest) =>
      catalog.reachable(repository, digest, {
        cold: placeOf(repository, upstreams) !== undefined,
      }),
  };
}

/** undefined for a repository of the hub itself, or of no upstream that is configured. */
function placeOf(
  repository: string,
  upstreams: Pick<Upstreams, 'placeOf'>,
): UpstreamPlace | undefined {
  try {
    const place = upstreams.placeOf(parseRepository(repository));
    return place?.repository === repository ? place : undefined;
  } catch (err) {
    if (hasCode(err, 'NAME_UNKNOWN', 'NAME_INVALID')) return undefined;
    throw err;
  }
}
