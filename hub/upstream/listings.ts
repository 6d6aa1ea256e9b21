import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { deadline } from '../../proto/std/abort.ts';
import { REFERRERS_PAGE_BYTES } from '../registry/constants.ts';
import type { Catalog, Referrer } from '../catalog/port.ts';
import type { UpstreamPlace } from './port.ts';
import {
  MANIFEST_TIMEOUT_MS,
  REFERRERS_ASKED_MAX,
  REFERRERS_MAX,
  TAG_PAGES_MAX,
} from './pull-constants.ts';
import { isAway, refusalOf } from './refusals.ts';

type Options = { signal: AbortSignal };
type Page = { n: number; last?: string };

/** Lists of upstreams; while one is away, what this hub knows of them. */
export class UpstreamListings {
  readonly #now: () => number;
  readonly #catalog: Pick<Catalog, 'tags' | 'referrers'>;

  /** `now`: ms since 1970. */
  constructor(
    options: { now: () => number },
    modules: { catalog: Pick<Catalog, 'tags' | 'referrers'> },
  ) {
    this.#now = options.now;
    this.#catalog = modules.catalog;
  }

  /** Tags as the upstream orders them. @throws OciError NAME_UNKNOWN, UpstreamAway */
  async tags(
    place: UpstreamPlace,
    page: Page,
    o: Options,
  ): Promise<{ tags: string[]; isStale: boolean }> {
    const { repository, upstream } = place;
    using limit = deadline(MANIFEST_TIMEOUT_MS, o.signal);
    let found: string[] | undefined;
    try {
      found = await theirTags(place, page, limit);
    } catch (err) {
      o.signal.throwIfAborted();
      const known = isAway(err) ? await this.#catalog.tags(repository, page) : undefined;
      if (known === undefined) throw refusalOf(err, upstream.host, this.#now());
      return { tags: known, isStale: true };
    }
    if (found === undefined)
      throw ociError('NAME_UNKNOWN', `${upstream.host} has no ${place.remote}`);
    return { tags: found, isStale: false };
  }

  /** @throws OciError UpstreamAway */
  async referrers(
    place: UpstreamPlace,
    subject: Digest,
    o: Options & { artifactType?: string | undefined },
  ): Promise<{ referrers: Referrer[]; isStale: boolean }> {
    const { artifactType } = o;
    using limit = deadline(MANIFEST_TIMEOUT_MS, o.signal);
    const known = await this.#known(place, subject, artifactType);
    try {
      const theirs = await theirReferrers(place, subject, known, limit);
      const wanted = theirs.filter((one) => [undefined, one.artifactType].includes(artifactType));
      return { referrers: wanted, isStale: false };
    } catch (err) {
      o.signal.throwIfAborted();
      const refusal = refusalOf(err, place.upstream.host, this.#now());
      if (!isAway(err) || known.length === 0) throw refusal;
      return { referrers: known, isStale: true };
    }
  }

  async #known(
    { repository }: UpstreamPlace,
    subject: Digest,
    artifactType: string | undefined,
  ): Promise<Referrer[]> {
    const page = { n: REFERRERS_MAX, bytes: REFERRERS_PAGE_BYTES };
    const filter = artifactType === undefined ? {} : { artifactType };
    return (await this.#catalog.referrers(repository, subject, { ...page, ...filter })).referrers;
  }
}

/** Some registries give shorter pages than they are asked for, and some the same one again. */
async function theirTags(
  { upstream, remote }: UpstreamPlace,
  { n, last }: Page,
  { signal }: Options,
): Promise<string[] | undefined> {
  const found = new Set<string>();
  for (let pages = 0; pages < TAG_PAGES_MAX && found.size < n; pages += 1) {
    const from = [...found].at(-1) ?? last;
    const ask = { n: n - found.size, last: from };
    const page = await upstream.tags(remote, ask, { signal, urgency: 'interactive' });
    if (page === undefined) return found.size > 0 ? [...found] : undefined;
    const before = found.size;
    for (const tag of page) found.add(tag);
    if (found.size === before) break;
  }
  return [...found].slice(0, n);
}

/** An entry needs its size: what is kept here has it, for the others the upstream is asked. */
async function theirReferrers(
  { upstream, remote }: UpstreamPlace,
  subject: Digest,
  known: readonly Referrer[],
  { signal }: Options,
): Promise<Referrer[]> {
  const ask = { signal, urgency: 'interactive' as const };
  const listed = (await upstream.referrers(remote, subject, ask)) ?? [];
  const kept = new Map(known.map((one) => [one.digest, one]));
  const found: Referrer[] = [];
  let asked = 0;
  for (const one of listed.slice(0, REFERRERS_MAX)) {
    const own = kept.get(one.digest);
    if (own !== undefined) {
      found.push(own);
      continue;
    }
    let { size } = one;
    if (size === undefined && asked < REFERRERS_ASKED_MAX) {
      asked += 1;
      const reference = { kind: 'digest', digest: one.digest } as const;
      const head = await upstream.headManifest(remote, reference, ask);
      size = head === 'unchanged' ? undefined : head?.size;
    }
    if (size !== undefined) found.push({ ...one, size });
  }
  return found;
}
