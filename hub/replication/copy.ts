import type { Digest } from '../../proto/oci/digest.ts';
import {
  isForeignLayer,
  parseManifest,
  type Descriptor,
  type ParsedManifest,
} from '../../proto/oci/manifest.ts';
import { fitsPlatforms, platformText } from '../../proto/oci/platform.ts';
import { parseTag, type Reference, type Repository, type Tag } from '../../proto/oci/name.ts';
import { eachAtOnce } from '../../proto/std/each.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import { companionTags } from './companions.ts';
import {
  ARTIFACT_MANIFESTS_MAX,
  BLOBS_AT_ONCE,
  CONFIG_MAX_BYTES,
  INDEX_LEVELS_MAX,
  KEEP_ALIVE_MS,
  REFERRER_LEVELS_MAX,
  REFERRERS_MAX,
} from './constants.ts';
import { refused, sourceLacks, unchosen } from './errors.ts';
import type { FoundManifest, ReplicationSource, ReplicationTarget } from './place.ts';
import { platformSuffix, type Rule } from './rule.ts';
import type { Turns } from './turns.ts';

/** What was done for one artifact. */
export type ArtifactCounts = {
  copied: number;
  mounted: number;
  present: number;
  manifests: number;
  referrers: number;
  bytes: number;
};

export type CopyModules = {
  source: ReplicationSource;
  target: ReplicationTarget;
  /** One at a time copies a blob to a registry, or a manifest to a repository. */
  turns: Turns;
  budget: RateBudget | undefined;
  onBytes: (count: number) => void;
};

type Parsed = FoundManifest & { parsed: ParsedManifest };
type Places = { from: Repository; to: Repository };

/** Copies one artifact, with what belongs to it. */
export class ArtifactCopy {
  readonly counts: ArtifactCounts = {
    copied: 0,
    mounted: 0,
    present: 0,
    manifests: 0,
    referrers: 0,
    bytes: 0,
  };
  /** Of the manifest at the top, once that is known. */
  digest: Digest | undefined;
  readonly #rule: Rule;
  readonly #places: Places;
  readonly #modules: CopyModules;
  readonly #signal: AbortSignal;
  readonly #begun = new Set<Digest>();
  /** Blobs that are there and that no manifest names yet. */
  #unnamed: Digest[] = [];
  /** Manifests that are there and whose referrers are to be looked for. */
  #named: Digest[] = [];
  /** Those whose referrers were. */
  readonly #looked = new Set<Digest>();

  constructor(
    options: Places & { rule: Rule },
    modules: CopyModules,
    { signal }: { signal: AbortSignal },
  ) {
    this.#rule = options.rule;
    this.#places = { from: options.from, to: options.to };
    this.#modules = modules;
    this.#signal = signal;
  }

  /**
   * Copies what the reference names; what is done says whether something was missing.
   * @throws ReplicationError REFUSED, UNCHOSEN, SOURCE_LACKS; errors of both sides
   */
  async run(reference: Reference): Promise<{ state: 'copied' | 'present'; message: string }> {
    const { from } = this.#places;
    const o = { signal: this.#signal };
    this.digest =
      reference.kind === 'digest'
        ? reference.digest
        : await this.#modules.source.tagged(from, reference.tag, o);
    if (this.digest === undefined) throw unchosen('it is not at the source any more');
    const top = await this.#read(this.digest);
    const unfit = await whyUnfit(this.#rule, top, () => this.#labelsOf(top.parsed));
    if (unfit !== undefined) throw unchosen(unfit);
    const chosen = await this.#chosenChildren(top);
    if (chosen !== undefined) return this.#copyChildren(chosen, reference);
    await this.#tree(top, await this.#unlessTagged(reference, top.digest));
    const { manifests, copied, mounted } = this.counts;
    if (manifests + copied + mounted > 0) return { state: 'copied', message: '' };
    return { state: 'present', message: '' };
  }

  /**
   * Without the tag where it names that already: it is not set again, and nobody hears of it.
   * @throws ReplicationError REFUSED for a tag that may not be moved
   */
  async #unlessTagged(reference: Reference, digest: Digest): Promise<Reference> {
    if (reference.kind !== 'tag') return reference;
    const { to } = this.#places;
    const signal = this.#signal;
    const there = await this.#modules.target.tagged(to, reference.tag, { signal });
    if (there === digest) return { kind: 'digest', digest };
    if (there === undefined || this.#rule.override) return reference;
    throw refused(`the tag names ${there} at the destination, and the rule does not override`);
  }

  /** undefined: all of it is to be copied. @throws ReplicationError REFUSED, UNCHOSEN */
  async #chosenChildren({ parsed }: Parsed): Promise<readonly Descriptor[] | undefined> {
    const { platforms, platformPolicy } = this.#rule;
    if (platforms.length === 0) return undefined;
    const names = platforms.map(platformText).join(', ');
    if (parsed.kind === 'image') {
      if (await this.#isWantedImage(parsed)) return undefined;
      throw unchosen(`it is no image for ${names}`);
    }
    // What has no platform of its own, such as an attestation, belongs to the others.
    const images = parsed.manifests.filter(
      ({ platform }) => platform !== undefined && platform.os !== 'unknown',
    );
    const chosen = images.filter(({ platform }) => fitsPlatforms(platform, platforms));
    if (chosen.length === images.length) return undefined;
    if (chosen.length === 0) throw unchosen(`the index has no image for ${names}`);
    if (platformPolicy === 'children') return chosen;
    throw refused(
      `the index has ${images.length} images and the rule wants ${chosen.length} of them; ` +
        'without the others it would be another index with another digest. ' +
        'platformPolicy: children copies the images without the index',
    );
  }

  async #isWantedImage({ config }: ParsedManifest): Promise<boolean> {
    if (config === undefined || !isOfImage(config)) return true;
    const { os, architecture, variant } = await this.#configOf(config);
    if (typeof os !== 'string' || typeof architecture !== 'string') return true;
    const platform = { os, architecture, ...(typeof variant === 'string' ? { variant } : {}) };
    return fitsPlatforms(platform, this.#rule.platforms);
  }

  /** The labels of an image, or of the first one of an index. */
  async #labelsOf({ manifests, config }: ParsedManifest, level = 0): Promise<Labels> {
    const first = manifests.find(
      ({ platform }) => platform !== undefined && platform.os !== 'unknown',
    );
    if (first !== undefined && level < INDEX_LEVELS_MAX) {
      return this.#labelsOf((await this.#read(first.digest)).parsed, level + 1);
    }
    if (config === undefined || !isOfImage(config)) return {};
    const own: unknown = (await this.#configOf(config))['config'];
    const { Labels: labels }: { Labels?: unknown } = { ...Object(own) };
    return { ...Object(labels) };
  }

  /** The config of an image, as it says itself. @throws ReplicationError SOURCE_LACKS */
  async #configOf({ digest }: Descriptor): Promise<Record<string, unknown>> {
    const { from } = this.#places;
    const unread = new AbortController();
    const signal = AbortSignal.any([unread.signal, this.#signal]);
    const found = await this.#modules.source.openBlob(from, digest, { start: 0, signal });
    if (found === undefined || found.size > CONFIG_MAX_BYTES) {
      unread.abort();
      throw sourceLacks(`the source lacks the config ${digest}`);
    }
    const parts: Buffer[] = [];
    for await (const part of found.body) parts.push(part);
    return { ...Object(JSON.parse(Buffer.concat(parts).toString())) };
  }

  /** One image gets the tag of the index, several get it with their platforms behind it. */
  async #copyChildren(
    chosen: readonly Descriptor[],
    reference: Reference,
  ): Promise<{ state: 'copied' | 'present'; message: string }> {
    for (const { digest, platform } of chosen) {
      const suffix = platform === undefined ? '' : platformSuffix(platform);
      const tag =
        reference.kind === 'tag'
          ? tagOf(reference.tag, chosen.length === 1 ? '' : suffix)
          : undefined;
      const wish: Reference = tag ? { kind: 'tag', tag } : { kind: 'digest', digest };
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const as = await this.#unlessTagged(wish, digest);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await this.#tree(await this.#read(digest), as);
    }
    const { manifests } = this.counts;
    const message = `${chosen.length} images of the index, without the index`;
    return { state: manifests > 0 ? 'copied' : 'present', message };
  }

  /**
   * A manifest with all it names, and then what refers to any of that. Not while a turn is held:
   * what refers to a part may name the whole, which would wait for itself.
   */
  async #tree(manifest: Parsed, as: Reference): Promise<void> {
    this.#named.push(manifest.digest);
    await this.#manifest(manifest, as, 0);
    for (let level = 0; level <= REFERRER_LEVELS_MAX; level += 1) {
      const subjects = this.#rule.referrers ? this.#named : [];
      this.#named = [];
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      for (const subject of subjects) await this.#referrersOf(subject);
    }
  }

  #manifest(manifest: Parsed, as: Reference, level: number): Promise<void> {
    const key = `${this.#places.to}@${manifest.digest}`;
    const work = (): Promise<void> => this.#copyManifest(manifest, as, level);
    return this.#modules.turns.run(key, { signal: this.#signal }, work);
  }

  async #copyManifest(manifest: Parsed, as: Reference, level: number): Promise<void> {
    const { to } = this.#places;
    const { target } = this.#modules;
    const signal = this.#signal;
    const { parsed, digest } = manifest;
    const isThere = await target.hasManifest(to, digest, { signal });
    if (isThere && as.kind === 'digest' && parsed.kind === 'image') return this.#refer(manifest);
    if (level > INDEX_LEVELS_MAX) throw refused(`more than ${INDEX_LEVELS_MAX} levels of indexes`);
    for (const child of parsed.manifests) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await this.#child(child, level + 1);
    }
    if (!isThere) await this.#blobs(parsed);
    if (isThere && as.kind === 'digest') return this.#refer(manifest);
    await target.putManifest(to, as, manifest, { signal });
    this.#unnamed = [];
    this.counts.manifests += 1;
  }

  /** Whoever put it there may have ended before its subject led to it. */
  async #refer(manifest: Parsed): Promise<void> {
    if (manifest.parsed.subject === undefined) return;
    await this.#modules.target.refer(this.#places.to, manifest, { signal: this.#signal });
  }

  async #child({ digest }: Descriptor, level: number): Promise<void> {
    if (!this.#isNew(digest)) return;
    const child = await this.#read(digest);
    this.#named.push(digest);
    await this.#manifest(child, { kind: 'digest', digest }, level);
  }

  /** Indexes may name the same over and over, on each level: it is copied once. */
  #isNew(digest: Digest): boolean {
    if (this.#begun.has(digest)) return false;
    this.#begun.add(digest);
    if (this.#begun.size <= ARTIFACT_MANIFESTS_MAX) return true;
    throw refused(`more than ${ARTIFACT_MANIFESTS_MAX} manifests belong to it`);
  }

  /** Not from the source when it is there already: some count how often that is asked. */
  async #read(digest: Digest): Promise<Parsed> {
    const { from, to } = this.#places;
    const { source, target } = this.#modules;
    const reference = { kind: 'digest', digest } as const;
    const o = { signal: this.#signal };
    const found =
      (await target.manifest(to, digest, o)) ?? (await source.manifest(from, reference, o));
    if (found === undefined) throw sourceLacks(`the source lacks the manifest ${digest}`);
    return { ...found, parsed: parseManifest(found.bytes, found.mediaType) };
  }

  /** Some at a time; when one fails, those under way end before the failure is told. */
  async #blobs({ config, layers }: ParsedManifest): Promise<void> {
    const wanted = [...(config ? [config] : []), ...layers.filter((one) => !isForeignLayer(one))];
    const all = [...new Map(wanted.map((one) => [one.digest, one])).values()];
    const kept = setInterval(() => void this.#keep(), KEEP_ALIVE_MS);
    try {
      const how = { atOnce: BLOBS_AT_ONCE, signal: this.#signal };
      await eachAtOnce(all, how, (one, o) => this.#blob(one, o.signal));
    } finally {
      clearInterval(kept);
    }
  }

  async #blob({ digest, size }: Descriptor, signal: AbortSignal): Promise<void> {
    const { from, to } = this.#places;
    const { source, target, turns } = this.#modules;
    const supply = {
      has: () => source.hasBlob(from, digest, { signal }),
      open: async (range: { start: number; end?: number }) => {
        const found = await source.openBlob(from, digest, { signal, ...range });
        if (found === undefined) throw sourceLacks(`the source lacks the blob ${digest}`);
        if (found.size !== size) {
          throw sourceLacks(`the source has ${found.size} bytes of ${digest}, not ${size}`);
        }
        return this.#paced(found.body, signal);
      },
    };
    const fate = await turns.run(digest, { signal }, () =>
      target.provide(to, { digest, size }, supply, { signal }),
    );
    this.counts[fate] += 1;
    this.#unnamed.push(digest);
  }

  /** A blob that is collected all the same is copied again by the next attempt. */
  async #keep(): Promise<void> {
    await this.#modules.target.keep(this.#places.to, this.#unnamed).catch(() => undefined);
  }

  async *#paced(body: AsyncIterable<Buffer>, signal: AbortSignal): AsyncIterable<Buffer> {
    const { budget, onBytes } = this.#modules;
    for await (const part of body) {
      await budget?.pass(part.length, { signal });
      this.counts.bytes += part.length;
      onBytes(part.length);
      yield part;
    }
  }

  /** Signatures, SBOMs and others: those that say so, and those under tags of cosign. */
  async #referrersOf(subject: Digest): Promise<void> {
    if (this.#looked.has(subject)) return;
    this.#looked.add(subject);
    const { from, to } = this.#places;
    const { source, target } = this.#modules;
    const o = { signal: this.#signal };
    const found = await source.referrers(from, subject, o);
    if (this.counts.referrers + found.length > REFERRERS_MAX) {
      throw refused(`more than ${REFERRERS_MAX} referrers`);
    }
    for (const { digest } of found) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const referrer = await this.#read(digest);
      // A list under a tag is written by anybody: only what names the subject itself refers to it.
      if (referrer.parsed.subject?.digest !== subject) continue;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await this.#manifest(referrer, { kind: 'digest', digest }, 0);
      this.#named.push(digest);
      this.counts.referrers += 1;
    }
    for (const tag of companionTags(subject)) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const digest = await source.tagged(from, tag, o);
      if (digest === undefined) continue;
      this.counts.referrers += 1;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const there = await target.tagged(to, tag, o);
      if (there === digest || (there !== undefined && !this.#rule.override)) continue;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await this.#manifest(await this.#read(digest), { kind: 'tag', tag }, 0);
    }
  }
}

const TAG_MAX_CHARS = 128;

function tagOf(tag: Tag, suffix: string): Tag {
  const text = `${tag}${suffix}`;
  if (text.length <= TAG_MAX_CHARS) return parseTag(text);
  throw refused(`the tag ${text} would be too long`);
}

type Labels = Readonly<Record<string, unknown>>;

function isOfImage({ mediaType }: Descriptor): boolean {
  return /image|container/.test(mediaType);
}

/**
 * Why the rule does not choose a manifest, by its type and its annotations; undefined: it does.
 * `labels` counts where the manifest has no such annotation, as most images have none.
 */
export async function whyUnfit(
  { artifactTypes, annotations }: Pick<Rule, 'artifactTypes' | 'annotations'>,
  { mediaType, parsed }: { mediaType: string; parsed: ParsedManifest },
  labelsOf: () => Promise<Labels>,
): Promise<string | undefined> {
  const type = parsed.artifactType || parsed.config?.mediaType || mediaType;
  if (artifactTypes !== undefined && !artifactTypes.includes(type)) {
    return `the rule does not choose artifacts of type ${type}`;
  }
  const keys = Object.keys(annotations);
  const isTold = keys.every((key) => Object.hasOwn(parsed.annotations, key));
  const own: Labels = { ...(isTold ? {} : await labelsOf()), ...parsed.annotations };
  const unfit = keys.find((key) => {
    const wanted = annotations[key];
    return !Object.hasOwn(own, key) || (wanted !== '*' && own[key] !== wanted);
  });
  if (unfit === undefined) return undefined;
  return `the rule wants the annotation or label ${unfit}=${annotations[unfit]}`;
}
