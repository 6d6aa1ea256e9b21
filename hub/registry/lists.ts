import { ociError } from '../../proto/oci/errors.ts';
import { parseDigest, type Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX } from '../../proto/oci/media-types.ts';
import type { Repository } from '../../proto/oci/name.ts';
import type { Catalog } from '../catalog/port.ts';
import { PAGE_DEFAULT, PAGE_MAX, REFERRERS_PAGE_BYTES } from './constants.ts';
import { sendJson, type Exchange } from './http.ts';

/** GET tags/list, paged by `n` and `last`. */
export async function listTags(
  exchange: Exchange,
  { repository }: { repository: Repository },
  catalog: Catalog,
): Promise<void> {
  const page = pageOf(exchange.query);
  const tags = await catalog.tags(repository, { ...page, n: page.n + 1 });
  if (!tags) throw ociError('NAME_UNKNOWN', `no repository ${repository}`);
  const shown = tags.slice(0, page.n);
  const link = linkTo(`/v2/${repository}/tags/list`, page.n, shown, tags.length > page.n);
  sendJson(exchange, { name: repository, tags: shown }, link);
}

/** GET _catalog, paged by `n` and `last`. */
export async function listRepositories(
  exchange: Exchange,
  catalog: Pick<Catalog, 'repositories'>,
): Promise<void> {
  const page = pageOf(exchange.query);
  const names = await catalog.repositories({ ...page, n: page.n + 1 });
  const shown = names.slice(0, page.n);
  sendJson(
    exchange,
    { repositories: shown },
    linkTo('/v2/_catalog', page.n, shown, names.length > page.n),
  );
}

/**
 * GET referrers of a digest, paged by `n` and `last`; an empty index when there are none
 * (distribution-spec "Listing Referrers"). Every manifest with a subject is listed since it was
 * pushed. So what an index under a fallback tag names is here already, once, whether or not clients
 * go on writing such tags.
 */
export async function listReferrers(
  exchange: Exchange,
  { repository, digest }: { repository: Repository; digest: Digest },
  catalog: Pick<Catalog, 'referrers'>,
): Promise<void> {
  const { query } = exchange;
  const { n, last } = pageOf(query, PAGE_MAX);
  const artifactType = query.get('artifactType') || undefined;
  const { referrers, more } = await catalog.referrers(repository, digest, {
    n,
    bytes: REFERRERS_PAGE_BYTES,
    ...(last === undefined ? {} : { last: parseDigest(last) }),
    ...(artifactType === undefined ? {} : { artifactType }),
  });
  const path = `/v2/${repository}/referrers/${digest}`;
  const shown = referrers.map((referrer) => referrer.digest);
  const filter =
    artifactType === undefined ? '' : `&artifactType=${encodeURIComponent(artifactType)}`;
  sendJson(
    exchange,
    { schemaVersion: 2, mediaType: OCI_INDEX, manifests: referrers },
    {
      'content-type': OCI_INDEX,
      ...(artifactType === undefined ? {} : { 'oci-filters-applied': 'artifactType' }),
      ...linkTo(path, n, shown, more, filter),
    },
  );
}

/** The page a client asks for. @throws OciError PAGINATION_NUMBER_INVALID */
export function pageOf(query: URLSearchParams, usual = PAGE_DEFAULT): { n: number; last?: string } {
  const text = query.get('n');
  if (text !== null && !/^\d{1,10}$/.test(text)) {
    throw ociError('PAGINATION_NUMBER_INVALID', 'n is a whole number, 0 or more');
  }
  const last = query.get('last');
  const n = Math.min(text === null ? usual : Number(text), PAGE_MAX);
  return { n, ...(last === null ? {} : { last }) };
}

/** The header that leads to the next page, if there is one. */
export function linkTo(
  path: string,
  n: number,
  shown: readonly string[],
  more: boolean,
  filter = '',
): Record<string, string> {
  const last = shown.at(-1);
  if (!more || last === undefined) return {};
  return { link: `<${path}?n=${n}&last=${encodeURIComponent(last)}${filter}>; rel="next"` };
}
