import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Reference, Tag } from '../../proto/oci/name.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { Catalog, StoredManifest, TagCheck } from '../catalog/port.ts';
import type { PulledManifest } from '../registry/pull-through.ts';
import { Flights } from './flights.ts';
import type { UpstreamManifests } from './manifests.ts';
import type { Negatives } from './negatives.ts';
import type { UpstreamPlace } from './port.ts';
import { FLIGHTS_MAX, MANIFEST_TIMEOUT_MS, STALE_WAIT_MS, TAG_NOTE_MS } from './pull-constants.ts';
import type { PullMetrics } from './pull-metrics.ts';
import { isAway, refusalOf } from './refusals.ts';
import type { UpstreamStore } from './store.ts';
import { ToldTags, type ToldTag } from './told-tags.ts';

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
type Compared = { kind: 'same'; held: StoredManifest } | { kind: 'gone' } | Moved;
/** It names something else than was known, and perhaps is told what. */
type Moved =
  | { kind: 'told'; told: ToldTag }
  | { kind: 'untold'; etag: string | undefined; askedAtMs: number };
type Target = { place: UpstreamPlace; reference: TagReference };
type Options = { signal: AbortSignal; headOnly: boolean };
type Answering = Pick<Options, 'headOnly'> & { how: 'fresh' | 'compared' | 'moved' | 'stale' };

/** What tags of upstreams name, as new as the policy of each wants it. */
export class UpstreamTags {
  readonly #now: () => number;
  readonly #modules: Modules;
  readonly #compared = new Flights<Compared>({ max: FLIGHTS_MAX });
  readonly #told = new ToldTags();
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
    if (held && this.#isFresh(place, known.check)) {
      return this.#answer(target, held, { ...o, how: 'fresh' });
    }
    if (this.#modules.negatives.has(keyOf(target))) return this.#gone(target, held, o);
    const isUsable = held !== undefined && this.#isUsable(place, known.check);
    using limit = deadline(isUsable ? STALE_WAIT_MS : MANIFEST_TIMEOUT_MS, o.signal);
    try {
      return await abortable(this.#ask(target, known, o), limit.signal);
    } catch (err) {
      o.signal.throwIfAborted();
      const { host: upstream } = place.upstream;
      if (!isUsable || !isAway(err)) throw refusalOf(err, upstream, this.#now());
      const fields = { upstream, repository: place.repository, tag: reference.tag };
      this.#modules.logger.info({ ...fields, reason: messageOf(err) }, 'answered a stale tag');
      return this.#answer(target, held, { ...o, how: 'stale' });
    }
  }

  /** What an upstream said of a tag whose manifest was not here. */
  readonly told = ({ repository }: UpstreamPlace, tag: string): ToldTag | undefined =>
    this.#told.get({ repository, tag });

  /** A manifest was asked for by its digest: tags that are said to name it do so from now on. */
  async came(place: UpstreamPlace, manifest: StoredManifest): Promise<void> {
    for (const { tag, told } of this.#told.of(place.repository, manifest.digest)) {
      const reference = { kind: 'tag', tag } as const;
      // oxlint-disable-next-line no-await-in-loop -- there is one, but for odd clients
      await this.#move({ place, reference }, manifest, told);
    }
  }

  async #ask(target: Target, known: Known, o: Options): Promise<PulledManifest> {
    const { held } = known;
    const told = this.#freshlyTold(target);
    if (told !== undefined) {
      const answer = await this.#follow(
        target,
        { kind: 'told', told },
        { ...o, held, how: 'fresh' },
      );
      if (answer !== undefined) return answer;
      // What it named then is there no more: it has moved since.
      this.#told.forget(nameOf(target), told.askedAtMs);
    }
    const compared = await this.#compare(target, known);
    if (compared.kind === 'gone') return this.#gone(target, held, o);
    if (compared.kind === 'same') {
      return this.#answer(target, compared.held, { ...o, how: 'compared' });
    }
    const answer = await this.#follow(target, compared, { ...o, held, how: 'moved' });
    return answer ?? this.#gone(target, held, o);
  }

  /** One question for all who want to know the same. */
  #compare(target: Target, { held, check }: Known): Promise<Compared> {
    const { place, reference } = target;
    const etag = held && check?.etag;
    const key = `${keyOf(target)} ${held?.digest ?? ''}`;
    return this.#compared.run(key, async () => {
      const askedAtMs = this.#now();
      using limit = deadline(MANIFEST_TIMEOUT_MS);
      const head = await place.upstream.headManifest(place.remote, reference, {
        signal: limit.signal,
        urgency: 'interactive',
        ...(etag === undefined ? {} : { ifNoneMatch: etag }),
      });
      if (held && (head === 'unchanged' || head?.digest === held.digest)) {
        const fresh = { etag: head === 'unchanged' ? etag : head.etag, checkedAtMs: askedAtMs };
        await this.#note(target, held.digest, { check, fresh });
        this.#told.forget(nameOf(target), askedAtMs);
        return { kind: 'same', held };
      }
      if (head === undefined || head === 'unchanged' || head.digest === undefined) {
        this.#told.forget(nameOf(target), askedAtMs);
        if (head === undefined) return { kind: 'gone' };
        return { kind: 'untold', etag: head === 'unchanged' ? etag : head.etag, askedAtMs };
      }
      const { digest, mediaType, size } = head;
      const told = { digest, mediaType, size, etag: head.etag, askedAtMs };
      this.#told.add(nameOf(target), told);
      return { kind: 'told', told };
    });
  }

  /**
   * What the tag names now, and the tag moves to it. Of a tag that was never pulled the facts,
   * where no more is asked for; else it is brought also then, so that the old one is answered as
   * long as the new one cannot be had. undefined: the upstream does not have it.
   */
  async #follow(
    target: Target,
    moved: Moved,
    o: Answering & { held: StoredManifest | undefined },
  ): Promise<PulledManifest | undefined> {
    const { manifests } = this.#modules;
    const { place } = target;
    if (o.headOnly && moved.kind === 'told' && o.held === undefined) {
      const { digest, mediaType, size } = moved.told;
      const kept = await manifests.kept(place, digest);
      if (kept === undefined && size !== undefined && size > 0) {
        this.#count(target, o.how);
        return { digest, mediaType, size, bytes: undefined, isStale: false };
      }
    }
    let asked = false;
    const key = `${keyOf(target)} ${moved.kind === 'told' ? moved.told.digest : ''}`;
    const found = await this.#followed.run(key, () =>
      this.#fetch(target, moved, () => void (asked = true)),
    );
    return found && this.#answer(target, found, { ...o, asked });
  }

  /** Brings what the tag names, and moves the tag. */
  async #fetch(
    target: Target,
    moved: Moved,
    asks: () => void,
  ): Promise<StoredManifest | undefined> {
    const { place, reference } = target;
    const { manifests } = this.#modules;
    if (moved.kind === 'told') {
      const { digest } = moved.told;
      const kept = await manifests.kept(place, digest);
      const found = kept ?? (await manifests.byDigest(place, digest, asks));
      if (found !== undefined) await this.#move(target, found, moved.told);
      return found;
    }
    asks();
    const found = await manifests.byTag(place, reference);
    if (found !== undefined) await this.#move(target, found, moved);
    return found;
  }

  /** The tag names what it was said to name, unless something later is known. */
  async #move(
    target: Target,
    manifest: StoredManifest,
    { etag, askedAtMs }: Pick<ToldTag, 'etag' | 'askedAtMs'>,
  ): Promise<void> {
    const { place, reference } = target;
    const checked = { etag, checkedAtMs: askedAtMs, nowMs: this.#now() };
    await this.#modules.manifests.tag(place, manifest, { tag: reference.tag, checked });
    this.#told.forget(nameOf(target), askedAtMs);
  }

  /** What is the same is not written at each pull. */
  async #note(
    { place, reference }: Target,
    digest: Digest,
    { check, fresh }: { check: TagCheck | undefined; fresh: TagCheck },
  ): Promise<void> {
    const { staleMaxAgeMs, freshness } = place.policy;
    const stepMs = freshness.kind === 'ttl' ? 0 : Math.min(TAG_NOTE_MS, staleMaxAgeMs / 2);
    const ageMs = fresh.checkedAtMs - (check?.checkedAtMs ?? Number.NEGATIVE_INFINITY);
    if (check?.etag === fresh.etag && ageMs >= 0 && ageMs < stepMs) return;
    const checked = { ...fresh, nowMs: this.#now() };
    const { tag } = reference;
    await this.#modules.store.tagChecked(place.repository, { tag, digest }, checked);
  }

  async #known(target: Target): Promise<Known> {
    const { catalog, store, manifests } = this.#modules;
    const { place, reference } = target;
    const { tag } = reference;
    const told = this.#told.get(nameOf(target));
    // It may have come since by its digest, here or at another hub.
    const came = told && (await manifests.kept(place, told.digest));
    if (told && came) await this.#move(target, came, told);
    const held = await catalog.manifest(place.repository, { tag });
    const check = held && (await store.tagCheck(place.repository, tag));
    return { held, check };
  }

  /** What the upstream said of a tag, as long as that counts. */
  #freshlyTold(target: Target): ToldTag | undefined {
    const told = this.#told.get(nameOf(target));
    const check = told && { etag: told.etag, checkedAtMs: told.askedAtMs };
    return this.#isFresh(target.place, check) ? told : undefined;
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
  async #gone(
    target: Target,
    held: StoredManifest | undefined,
    o: Options,
  ): Promise<PulledManifest> {
    const { place, reference } = target;
    const { policy, repository } = place;
    const { negatives, catalog, logger } = this.#modules;
    const isNew = !negatives.has(keyOf(target));
    // Who asks again and again must not keep it from ever being looked for.
    if (isNew) negatives.add(keyOf(target), policy.negativeMs);
    if (held && policy.onDeleted === 'keep') {
      return this.#answer(target, held, { ...o, how: 'stale' });
    }
    if (held && isNew && (await catalog.deleteTag(repository, reference.tag))) {
      logger.info({ repository, tag: reference.tag }, 'a tag is gone upstream, and here');
    }
    this.#count(target, 'gone');
    throw ociError('MANIFEST_UNKNOWN', `${place.upstream.host} has no ${reference.tag} of it`);
  }

  /** `asked`: the upstream sent it for this answer. A HEAD would have cost no pull. */
  #answer(
    target: Target,
    { digest, mediaType, bytes }: StoredManifest,
    { how, headOnly, asked = false }: Answering & { asked?: boolean },
  ): PulledManifest {
    this.#count(target, how);
    const { metrics } = this.#modules;
    if (!asked && !headOnly) metrics.avoided.inc({ upstream: target.place.upstream.host });
    return { digest, mediaType, size: bytes.length, bytes, isStale: how === 'stale' };
  }

  #count({ place }: Target, answer: string): void {
    this.#modules.metrics.tags.inc({ upstream: place.upstream.host, answer });
  }
}

function nameOf({ place, reference }: Target): { repository: string; tag: Tag } {
  return { repository: place.repository, tag: reference.tag };
}

function keyOf({ place, reference }: Target): string {
  return `${place.repository}:${reference.tag}`;
}
