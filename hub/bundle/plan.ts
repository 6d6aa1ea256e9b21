import type { Digest } from '../../proto/oci/digest.ts';
import { isForeignLayer, parseManifest } from '../../proto/oci/manifest.ts';
import type { Descriptor, ParsedManifest } from '../../proto/oci/manifest.ts';
import { isManifestMediaType } from '../../proto/oci/media-types.ts';
import { parseReference, parseRepository, referenceText } from '../../proto/oci/name.ts';
import type { Progress } from '../backup/progress.ts';
import { BUNDLE_DEPTH_MAX, BUNDLE_ENTRIES_MAX } from './constants.ts';
import { BundleError, damaged } from './errors.ts';
import type { FoundManifest, HubRegistry } from './hub-registry.ts';
import type { BundleBlob, BundleList } from './list.ts';
import { Outage, patiently } from './patience.ts';
import { chosenOf, chosenPlatform } from './platforms.ts';

export type PlanWish = {
  /** `team/app:v1` or `team/app@sha256:...`. */
  images: readonly string[];
  /** `linux/arm64`, `linux/arm/v7`; none: all. */
  platforms: readonly string[];
  /** What an earlier bundle has. */
  earlier: BundleList | undefined;
};

/** What belongs into a bundle. */
export type Plan = Pick<BundleList, 'images' | 'referrers' | 'manifests' | 'blobs'> & {
  /** Of indexes of the hub, and not chosen or not there. */
  leftOut: number;
};

type Modules = {
  registry: Pick<HubRegistry, 'manifest' | 'referrers' | 'has'>;
  progress: Pick<Progress, 'step' | 'say'>;
};

/** Endings of the tags under which signatures are kept where the registry lists no referrers. */
const TAG_ENDINGS = ['', '.sig', '.att', '.sbom'];

/** Looks up at a hub what belongs into a bundle; reads manifests only. */
export class Planner {
  readonly #modules: Modules;
  readonly #signal: AbortSignal;
  readonly #outage: Outage;
  readonly #plan: Plan = { images: [], referrers: [], manifests: [], blobs: [], leftOut: 0 };
  readonly #seen = new Set<string>();
  readonly #blobs = new Map<Digest, BundleBlob>();
  readonly #earlier = new Map<Digest, NonNullable<BundleBlob['in']>>();
  readonly #wish: PlanWish;

  constructor(wish: PlanWish, modules: Modules, { signal }: { signal: AbortSignal }) {
    this.#wish = wish;
    this.#modules = modules;
    this.#signal = signal;
    this.#outage = new Outage({ say: (text) => modules.progress.say(text) });
    for (const { digest, repositories, in: from } of wish.earlier?.blobs ?? []) {
      const [repository = ''] = repositories;
      const own = { id: wish.earlier?.id ?? '', repository };
      this.#earlier.set(digest, from ?? own);
    }
  }

  /** @throws BundleError IMAGE_INVALID, IMAGE_MISSING, BUNDLE_TOO_LARGE; AdminError */
  async run(): Promise<Plan> {
    const wanted = this.#wish.images.map(imageOf);
    for (const { text, repository, reference } of wanted) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other spares the hub
      const manifest = await this.#get(repository, referenceText(reference));
      if (manifest === undefined) {
        const message = `the hub has no ${text}`;
        throw new BundleError(message, { code: 'IMAGE_MISSING', image: text });
      }
      const tag = reference.kind === 'tag' ? { tag: reference.tag } : {};
      this.#plan.images.push({ repository, ...tag, digest: manifest.digest });
      // oxlint-disable-next-line no-await-in-loop -- one after the other spares the hub
      await this.#visit(repository, manifest, 0);
    }
    return { ...this.#plan, blobs: [...this.#blobs.values()] };
  }

  /** A manifest, what it names, and what refers to it; in the order in which they are pushed. */
  async #visit(repository: string, manifest: FoundManifest, depth: number): Promise<void> {
    const { digest, bytes, mediaType } = manifest;
    if (this.#seen.has(`${repository} ${digest}`)) return;
    this.#seen.add(`${repository} ${digest}`);
    if (depth > BUNDLE_DEPTH_MAX) throw damaged(`${digest} is nested too deeply`);
    if (this.#seen.size > BUNDLE_ENTRIES_MAX) throw tooMany('manifests');
    const parsed = parseManifest(bytes, mediaType);
    await this.#visitChildren(repository, parsed, depth);
    for (const blob of [...(parsed.config ? [parsed.config] : []), ...parsed.layers]) {
      if (!isForeignLayer(blob)) this.#addBlob(repository, blob);
    }
    this.#plan.manifests.push({ repository, digest, size: bytes.length, mediaType });
    this.#modules.progress.step(() => `manifests: ${this.#plan.manifests.length}`);
    await this.#visitReferrers(repository, digest, depth);
  }

  async #visitChildren(repository: string, parsed: ParsedManifest, depth: number): Promise<void> {
    const platforms = this.#wish.platforms.map(chosenPlatform);
    const chosen = chosenOf(parsed.manifests, platforms);
    this.#plan.leftOut += parsed.manifests.length - chosen.length;
    for (const child of chosen) {
      const { digest } = child;
      if (!isManifestMediaType(child.mediaType)) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other spares the hub
        if (await this.#has(repository, `blobs/${digest}`)) this.#addBlob(repository, child);
        continue;
      }
      // oxlint-disable-next-line no-await-in-loop -- one after the other spares the hub
      const manifest = await this.#get(repository, digest);
      if (manifest === undefined) this.#plan.leftOut += 1;
      // oxlint-disable-next-line no-await-in-loop -- one after the other spares the hub
      else await this.#visit(repository, manifest, depth + 1);
    }
  }

  async #visitReferrers(repository: string, digest: Digest, depth: number): Promise<void> {
    const { registry } = this.#modules;
    const signal = this.#signal;
    const listed = await patiently(() => registry.referrers(repository, digest, { signal }), {
      signal,
      outage: this.#outage,
    });
    for (const referrer of listed) {
      if (this.#seen.has(`${repository} ${referrer}`)) continue;
      // oxlint-disable-next-line no-await-in-loop -- one after the other spares the hub
      const manifest = await this.#get(repository, referrer);
      if (manifest === undefined) continue;
      this.#plan.referrers.push({ repository, digest: referrer });
      // oxlint-disable-next-line no-await-in-loop -- one after the other spares the hub
      await this.#visit(repository, manifest, depth + 1);
    }
    for (const ending of TAG_ENDINGS) {
      const tag = `${digest.replace(':', '-')}${ending}`;
      // A tag has at most 128 characters: that of a sha512 digest is none.
      if (tag.length > 128 || this.#seen.has(`${repository} ${tag}`)) continue;
      this.#seen.add(`${repository} ${tag}`);
      // oxlint-disable-next-line no-await-in-loop -- one after the other spares the hub
      const manifest = await this.#get(repository, tag);
      if (manifest === undefined) continue;
      this.#plan.images.push({ repository, tag, digest: manifest.digest });
      // oxlint-disable-next-line no-await-in-loop -- one after the other spares the hub
      await this.#visit(repository, manifest, depth + 1);
    }
  }

  #addBlob(repository: string, { digest, size }: Pick<Descriptor, 'digest' | 'size'>): void {
    const known = this.#blobs.get(digest);
    if (known === undefined) {
      if (this.#blobs.size >= BUNDLE_ENTRIES_MAX) throw tooMany('blobs');
      const from = this.#earlier.get(digest);
      const more = from === undefined ? {} : { in: from };
      this.#blobs.set(digest, { digest, size, repositories: [repository], ...more });
      return;
    }
    if (known.size !== size) throw damaged(`two manifests say two sizes of ${digest}`);
    if (!known.repositories.includes(repository)) known.repositories.push(repository);
  }

  #get(repository: string, reference: string): Promise<FoundManifest | undefined> {
    const signal = this.#signal;
    const { registry } = this.#modules;
    const get = () => registry.manifest(repository, reference, { signal });
    return patiently(get, { signal, outage: this.#outage });
  }

  #has(repository: string, what: string): Promise<boolean> {
    const signal = this.#signal;
    const has = () => this.#modules.registry.has(repository, what, { signal });
    return patiently(has, { signal, outage: this.#outage });
  }
}

function imageOf(text: string) {
  const at = text.indexOf('@');
  const colon = at < 0 ? text.lastIndexOf(':') : at;
  try {
    if (colon > text.lastIndexOf('/')) {
      const repository = parseRepository(text.slice(0, colon));
      return { text, repository, reference: parseReference(text.slice(colon + 1)) };
    }
  } catch {
    // As one without tag and digest.
  }
  const message = `"${text}" is no image of a hub: write REPOSITORY:TAG or REPOSITORY@DIGEST`;
  throw new BundleError(message, { code: 'IMAGE_INVALID', image: text });
}

function tooMany(what: string): BundleError {
  const message = `this is too much for one bundle: more than ${BUNDLE_ENTRIES_MAX} ${what}`;
  return new BundleError(message, { code: 'BUNDLE_TOO_LARGE', what });
}
