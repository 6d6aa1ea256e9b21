import type { Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX } from '../../proto/oci/media-types.ts';
import type { Reference } from '../../proto/oci/name.ts';
import type { UpstreamPlace } from '../upstream/port.ts';
import { isUnchanged, send, sendJson, type Exchange } from './http.ts';
import { linkTo, pageOf } from './lists.ts';
import type { PullThrough } from './pull-through.ts';

/** RFC 7234 section 5.5.1; later HTTP has no word for it, and clients go on to know this one. */
const STALE: Record<string, string> = { warning: '110 - "Response is Stale"' };

/** GET and HEAD of a manifest of an upstream, byte for byte as it is there. */
export async function getUpstreamManifest(
  exchange: Exchange,
  { place, reference }: { place: UpstreamPlace; reference: Reference },
  pullThrough: PullThrough,
): Promise<void> {
  const { request, signal } = exchange;
  const headOnly = request.method === 'HEAD';
  const found = await pullThrough.manifest(place, reference, { signal, headOnly });
  const etag = `"${found.digest}"`;
  const headers = {
    'content-type': found.mediaType,
    'docker-content-digest': found.digest,
    etag,
    ...(found.isStale ? STALE : {}),
  };
  if (isUnchanged(request, etag)) return send(exchange, 304, headers);
  if (found.bytes !== undefined) return send(exchange, 200, headers, found.bytes);
  send(exchange, 200, { ...headers, 'content-length': found.size });
}

/** GET tags/list of a repository of an upstream, in its order, paged by `n` and `last`. */
export async function listUpstreamTags(
  exchange: Exchange,
  place: UpstreamPlace,
  pullThrough: PullThrough,
): Promise<void> {
  const { repository } = place;
  const page = pageOf(exchange.query);
  const { signal } = exchange;
  const { tags, isStale } = await pullThrough.tags(place, { ...page, n: page.n + 1 }, { signal });
  const shown = tags.slice(0, page.n);
  sendJson(
    exchange,
    { name: repository, tags: shown },
    {
      ...linkTo(`/v2/${repository}/tags/list`, page.n, shown, tags.length > page.n),
      ...(isStale ? STALE : {}),
    },
  );
}

/** GET referrers of a digest in a repository of an upstream, in one page. */
export async function listUpstreamReferrers(
  exchange: Exchange,
  { place, digest }: { place: UpstreamPlace; digest: Digest },
  pullThrough: PullThrough,
): Promise<void> {
  const artifactType = exchange.query.get('artifactType') || undefined;
  const { signal } = exchange;
  const found = await pullThrough.referrers(place, digest, { signal, artifactType });
  sendJson(
    exchange,
    { schemaVersion: 2, mediaType: OCI_INDEX, manifests: found.referrers },
    {
      'content-type': OCI_INDEX,
      ...(artifactType === undefined ? {} : { 'oci-filters-applied': 'artifactType' }),
      ...(found.isStale ? STALE : {}),
    },
  );
}
