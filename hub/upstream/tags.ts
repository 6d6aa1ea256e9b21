import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Reference } from '../../proto/oci/name.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { Catalog, StoredManifest } from '../catalog/port.ts';
import type { PulledManifest } from '../registry/pull-through.ts';
import { Flights } from './flights.ts';
import type { UpstreamManifests } from './manifests.ts';
import type { Negatives } from './negatives.ts';
import type { UpstreamHead, UpstreamPlace } from './port.ts';
import { FLIGHTS_MAX, MANIFEST_TIMEOUT_MS, STALE_WAIT_MS, TAG_NOTE_MS } from './pull-constants.ts';
import type { PullMetrics } from './pull-metrics.ts';
import { isAway, refusalOf } from './refusals.ts';
import type { TagCheck, UpstreamStore } from './store.ts';

type TagReference = Extract<Reference, { kind: 'tag' }>;

type Modules = {
  catalog: Pick<Catalog, 'manifest' | 'deleteTag'>;
  store: Pick<UpstreamStore, 'tagCheck' | 'tagChecked'>;
  manifests: UpstreamManifests;
  negatives: Negatives;
  metrics: Pick<PullMetrics, 'tags' | 'avoided'>;
  logger: Logger;
};

/** A tag as this hub knows it. */
type Known = { held: StoredManifest | undefined; check: TagCheck | undefined };
/** What an upstream said of it. */
type Compared =
  | { kind: 'same' | 'gone' }
  | { kind: 'told'; head: UpstreamHead & { digest: Digest } }
  | { kind: 'untold'; etag: string | undefined };
type Target = { place: UpstreamPlace; reference: TagReference };
type Options = { signal: AbortSignal; headOnly: boolean };

/** What tags of upstreams name, as new as the policy of each wants it. */
export class UpstreamTags {
  readonly #now: () => number;
  readonly #modules: Modules;
  readonly #compared = new Flights<Compared>({ max: FLIGHTS_MAX });
  readonly #followed = new Flights<StoredManifest | undefined>({ max: FLIGHTS_MAX });

  /** `now`: ms since 1970. */
  constructor(options: { now: () => number }, modules: Modules) {
    this.#now = options.now;
    this.#modules = modules;
  }

  /** @throws OciError MANIFEST_UNKNOWN, UpstreamAway; errors of the catalog */
  async manifest(target: Target, o: Options): Promise<PulledManifest> {
    const { place, reference } = target;
    const known = await this.#known(target);
    const { held } = known;
    if (held && this.#isFresh(place, known.check)) return this.#answer(target, held, 'fresh');
    if (this.#modules.negatives.has(keyOf(target))) return this.#gone(target, held);
    const isUsable = held !== undefined && this.#isUsable(place, known.check);
    using limit = deadline(isUsable ? STALE_WAIT_MS : MANIFEST_TIMEOUT_MS, o.signal);
    try {
      return await abortable(this.#ask(target, known, o), limit.signal);
    } catch (err) {
      o.signal.throwIfAborted();
      const { name } = place.upstream;
      if (!isUsable || !isAway(err)) throw refusalOf(err, name, this.#now());
      const fields = { upstream: name, repository: place.repository, tag: reference.tag };
      this.#modules.logger.info({ ...fields, reason: messageOf(err) }, 'answered a stale tag');
      return this.#answer(target, held, 'stale');
    }
  }

  async #ask(target: Target, known: Known, { headOnly }: Options): Promise<PulledManifest> {
    const { held } = known;
    const compared = await this.#compare(target, known);
    if (compared.kind === 'gone') return this.#gone(target, held);
    if (compared.kind === 'same' && held) return this.#answer(target, held, 'compared');
    if (headOnly && compared.kind === 'told') {
      const { digest, mediaType, size } = compared.head;
      const kept = await this.#modules.manifests.kept(target.place, digest);
      if (kept === undefined && size !== undefined && size > 0) {
        this.#count(target, 'moved');
        return { digest, mediaType, size, bytes: undefined, isStale: false };
      }
    }
    const found = await this.#followed.run(keyOf(target), () => this.#follow(target, compared));
    if (found === undefined) return this.#gone(target, held);
    return this.#answer(target, found, 'moved');
  }

  /** One question for all who want to know the same. */
  #compare(target: Target, { held, check }: Known): Promise<Compared> {
    const { place, reference } = target;
    const etag = held && check?.etag;
    const key = `${keyOf(target)} ${held?.digest ?? ''}`;
    return this.#compared.run(key, async () => {
      using limit = deadline(MANIFEST_TIMEOUT_MS);
      const head = await place.upstream.headManifest(place.remote, reference, {
        signal: limit.signal,
        urgency: 'interactive',
        ...(etag === undefined ? {} : { ifNoneMatch: etag }),
      });
      if (head === undefined) return { kind: 'gone' };
      const isSame = head === 'unchanged' || (held && head.digest === held.digest);
      if (isSame) {
        await this.#note(target, check, head === 'unchanged' ? etag : head.etag);
        return { kind: 'same' };
      }
      const { digest, etag: fresh } = head;
      if (digest === undefined) return { kind: 'untold', etag: fresh };
      return { kind: 'told', head: { ...head, digest } };
    });
  }

  /** Brings what the tag names now, and moves the tag. */
  async #follow(target: Target, compared: Compared): Promise<StoredManifest | undefined> {
    const { place, reference } = target;
    const { manifests } = this.#modules;
    const told = compared.kind === 'told' ? compared.head : undefined;
    const found =
      told === undefined
        ? await manifests.byTag(place, reference)
        : ((await manifests.kept(place, told.digest)) ??
          (await manifests.byDigest(place, told.digest)));
    if (found === undefined) return undefined;
    await manifests.tag(place, found, reference.tag);
    await this.#note(target, undefined, compared.kind === 'untold' ? compared.etag : told?.etag);
    return found;
  }

  /** What is the same is not written at each pull. */
  async #note(target: Target, check: TagCheck | undefined, etag: string | undefined) {
    const { place, reference } = target;
    const nowMs = this.#now();
    const { staleMaxAgeMs, freshness } = place.policy;
    const stepMs = freshness.kind === 'ttl' ? 0 : Math.min(TAG_NOTE_MS, staleMaxAgeMs / 2);
    if (check && check.etag === etag && nowMs - check.checkedAtMs < stepMs) return;
    const fresh = { etag, checkedAtMs: nowMs };
    await this.#modules.store.tagChecked(place.repository, reference.tag, fresh);
  }

  async #known({ place, reference }: Target): Promise<Known> {
    const { catalog, store } = this.#modules;
    const { tag } = reference;
    const held = await catalog.manifest(place.repository, { tag });
    const check = held && (await store.tagCheck(place.repository, tag));
    return { held, check };
  }

  #isFresh({ policy }: UpstreamPlace, check: TagCheck | undefined): boolean {
    const { freshness } = policy;
    if (freshness.kind === 'pinned') return true;
    if (freshness.kind === 'always' || check === undefined) return false;
    const ageMs = this.#now() - check.checkedAtMs;
    return ageMs >= 0 && ageMs < freshness.ms;
  }

  #isUsable({ policy }: UpstreamPlace, check: TagCheck | undefined): boolean {
    if (check === undefined) return false;
    return this.#now() - check.checkedAtMs <= policy.staleMaxAgeMs;
  }

  /** The upstream has no such tag; what becomes of ours is its policy. */
  async #gone(target: Target, held: StoredManifest | undefined): Promise<PulledManifest> {
    const { place, reference } = target;
    const { policy, repository } = place;
    const { negatives, catalog, logger } = this.#modules;
    const isNew = !negatives.has(keyOf(target));
    // Who asks again and again must not keep it from ever being looked for.
    if (isNew) negatives.add(keyOf(target), policy.negativeMs);
    if (held && policy.onDeleted === 'keep') return this.#answer(target, held, 'stale');
    if (held && isNew && (await catalog.deleteTag(repository, reference.tag))) {
      logger.info({ repository, tag: reference.tag }, 'a tag is gone upstream, and here');
    }
    this.#count(target, 'gone');
    throw ociError('MANIFEST_UNKNOWN', `${place.upstream.name} has no ${reference.tag} of it`);
  }

  #answer(
    target: Target,
    { digest, mediaType, bytes }: StoredManifest,
    answer: 'fresh' | 'compared' | 'moved' | 'stale',
  ): PulledManifest {
    this.#count(target, answer);
    const { metrics } = this.#modules;
    if (answer !== 'moved') metrics.avoided.inc({ upstream: target.place.upstream.name });
    return { digest, mediaType, size: bytes.length, bytes, isStale: answer === 'stale' };
  }

  #count({ place }: Target, answer: string): void {
    this.#modules.metrics.tags.inc({ upstream: place.upstream.name, answer });
  }
}

function keyOf({ place, reference }: Target): string {
  return `${place.repository}:${reference.tag}`;
}
