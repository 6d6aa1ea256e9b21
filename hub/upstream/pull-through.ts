import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Reference } from '../../proto/oci/name.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import type { OpenBlob } from '../blobs/port.ts';
import type { Referrer, StoredManifest } from '../catalog/port.ts';
import type { PulledManifest, PullThrough } from '../registry/pull-through.ts';
import type { UpstreamBlobs } from './blobs.ts';
import type { UpstreamListings } from './listings.ts';
import type { UpstreamManifests } from './manifests.ts';
import type { Negatives } from './negatives.ts';
import type { UpstreamPlace, Upstreams } from './port.ts';
import { MANIFEST_TIMEOUT_MS } from './pull-constants.ts';
import type { PullMetrics } from './pull-metrics.ts';
import { refusalOf } from './refusals.ts';
import type { SharedBlobs } from './shared-blobs.ts';
import type { UpstreamTags } from './tags.ts';

type Modules = {
  upstreams: Upstreams;
  manifests: UpstreamManifests;
  tags: UpstreamTags;
  listings: UpstreamListings;
  blobs: UpstreamBlobs;
  /** Where several hubs share a catalog. */
  shared: SharedBlobs | undefined;
  negatives: Negatives;
  metrics: Pick<PullMetrics, 'avoided'>;
};

type Options = { signal: AbortSignal };

/** Answers for the configured upstreams out of what is kept, and fetches what is not. */
export class HubPullThrough implements PullThrough {
  readonly upstreams: Upstreams;
  readonly #now: () => number;
  readonly #modules: Modules;

  /** `now`: ms since 1970. */
  constructor(options: { now: () => number }, modules: Modules) {
    this.upstreams = modules.upstreams;
    this.#now = options.now;
    this.#modules = modules;
  }

  manifest(
    place: UpstreamPlace,
    reference: Reference,
    o: Options & { headOnly: boolean },
  ): Promise<PulledManifest> {
    if (reference.kind === 'tag') return this.#modules.tags.manifest({ place, reference }, o);
    return this.#byDigest(place, reference.digest, o);
  }

  openBlob(place: UpstreamPlace, digest: Digest, o: Options): Promise<OpenBlob> {
    const { shared, blobs } = this.#modules;
    return shared === undefined ? blobs.openHere(place, digest, o) : shared.open(place, digest, o);
  }

  headBlob(place: UpstreamPlace, digest: Digest, o: Options): Promise<{ size: number }> {
    return this.#modules.blobs.head(place, digest, o);
  }

  tags(
    place: UpstreamPlace,
    page: { n: number; last?: string },
    o: Options,
  ): Promise<{ tags: string[]; isStale: boolean }> {
    return this.#modules.listings.tags(place, page, o);
  }

  referrers(
    place: UpstreamPlace,
    subject: Digest,
    o: Options & { artifactType?: string | undefined },
  ): Promise<{ referrers: Referrer[]; isStale: boolean }> {
    return this.#modules.listings.referrers(place, subject, o);
  }

  /** What has this digest never changes: one that is kept is asked for no more. */
  async #byDigest(
    place: UpstreamPlace,
    digest: Digest,
    { signal, headOnly }: Options & { headOnly: boolean },
  ): Promise<PulledManifest> {
    const { manifests, tags, negatives, metrics } = this.#modules;
    const { host } = place.upstream;
    const kept = await manifests.kept(place, digest);
    if (kept !== undefined) {
      if (!headOnly) metrics.avoided.inc({ upstream: host });
      await tags.came(place, kept);
      return answerOf(kept);
    }
    const key = `${place.repository}@${digest}`;
    if (negatives.has(key)) throw unknown(place, digest);
    try {
      const head = headOnly ? await headOf(place, digest, signal) : 'get';
      if (head !== undefined && head !== 'get') return head;
      let asked = false;
      const asks = (): void => void (asked = true);
      const found = head && (await abortable(manifests.byDigest(place, digest, asks), signal));
      if (found !== undefined) {
        if (!asked && !headOnly) metrics.avoided.inc({ upstream: host });
        await tags.came(place, found);
        return answerOf(found);
      }
    } catch (err) {
      signal.throwIfAborted();
      throw refusalOf(err, host, this.#now());
    }
    negatives.add(key, place.policy.negativeMs);
    throw unknown(place, digest);
  }
}

/** undefined: the upstream does not have it. 'get': it does not say enough without sending it. */
async function headOf(
  { upstream, remote }: UpstreamPlace,
  digest: Digest,
  signal: AbortSignal,
): Promise<PulledManifest | 'get' | undefined> {
  using limit = deadline(MANIFEST_TIMEOUT_MS, signal);
  const ask = { signal: limit.signal, urgency: 'interactive' as const };
  const head = await upstream.headManifest(remote, { kind: 'digest', digest }, ask);
  if (head === undefined) return undefined;
  if (head === 'unchanged' || head.size === undefined || head.size === 0) return 'get';
  const { mediaType, size } = head;
  return { digest, mediaType, size, bytes: undefined, isStale: false };
}

function answerOf({ digest, mediaType, bytes }: StoredManifest): PulledManifest {
  return { digest, mediaType, size: bytes.length, bytes, isStale: false };
}

function unknown({ upstream, remote }: UpstreamPlace, digest: Digest): Error {
  return ociError('MANIFEST_UNKNOWN', `${upstream.host} has no manifest ${digest} in ${remote}`);
}
