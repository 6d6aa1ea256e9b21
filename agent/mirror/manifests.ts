import { parseManifest } from '../../proto/oci/manifest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { TagName } from '../../proto/trust/tag-statement.ts';
import type { CallOptions } from '../fetch/ports.ts';
import { notFound } from './errors.ts';
import type { Target } from './namespace.ts';
import type {
  ContentSource,
  GrantSource,
  HubTokenReader,
  LocalContent,
  ManifestBytes,
  ManifestHead,
  Origin,
} from './ports.ts';
import type { ContentFacts } from './response-plan.ts';
import type { RightsBook } from './rights.ts';
import type { StaleTags } from './stale-tags.ts';

/** The registry itself, just now; the book of rights, which had it from there; or nobody. */
type Proof = 'registry' | 'book' | 'none';

/** Whoever shows nothing. */
const NOBODY = { authorization: undefined, mayRead: false };

export type ManifestAsk = {
  target: Target;
  repository: Repository;
  reference: Reference;
  method: string;
  /** The runtime's own header; goes to the registry of `target` and nowhere else. */
  authorization: string | undefined;
};

/** `bytes` are absent when only the facts were asked for. */
export type ManifestAnswer = { facts: ContentFacts; bytes: Buffer | undefined };

export type ManifestModules = {
  local: LocalContent;
  content: ContentSource;
  grants: GrantSource;
  hubTokens: HubTokenReader;
  rights: RightsBook;
  staleTags: StaleTags;
  originOf: (target: Target) => Origin;
  logger: Logger;
};

/**
 * Resolves manifests. Tags are asked at the hub or the upstream each time; while the hub is silent,
 * its last signed statement counts for a while, marked as stale. By digest, hub content comes from
 * wherever it is once the right is known; upstream content that needed credentials is confirmed at
 * the upstream each time.
 */
export class Manifests {
  readonly #modules: ManifestModules;

  constructor(modules: ManifestModules) {
    this.#modules = modules;
  }

  /** @throws MirrorError NOT_FOUND, UNAUTHORIZED, UNAVAILABLE; errors of the fetch room */
  resolve(ask: ManifestAsk, o: CallOptions): Promise<ManifestAnswer> {
    if (ask.target.kind === 'upstream') return this.#fromUpstream(ask, o);
    return ask.reference.kind === 'tag'
      ? this.#hubTag(ask, ask.reference.tag, o)
      : this.#hubDigest(ask, ask.reference.digest, o);
  }

  #hubTag(ask: ManifestAsk, tag: string, o: CallOptions): Promise<ManifestAnswer> {
    const name = { ...placeOf(ask), tag };
    const ways = {
      hub: (h: CallOptions) => this.#fromHub(ask, name, h),
      stale: async ({ digest }: { digest: Digest }, s: CallOptions): Promise<ManifestAnswer> => {
        const byDigest = { ...ask, reference: { kind: 'digest', digest } as const };
        const { facts, bytes } = await this.#hubDigest(byDigest, digest, s);
        return { facts: { ...facts, isStale: true }, bytes };
      },
    };
    return this.#modules.staleTags.answer(name, ways, o);
  }

  async #fromHub(ask: ManifestAsk, name: TagName, o: CallOptions): Promise<ManifestAnswer> {
    const { originOf, staleTags } = this.#modules;
    const source = originOf(ask.target);
    const options = { ...o, authorization: ask.authorization };
    const isHead = ask.method === 'HEAD';
    const head = isHead
      ? await source.headManifest(ask.repository, ask.reference, options)
      : undefined;
    const found = isHead
      ? undefined
      : await source.getManifest(ask.repository, ask.reference, options);
    const answer = head ?? found;
    if (answer === undefined || answer.digest !== undefined) {
      staleTags.resolved(name, answer?.digest);
    }
    const isStale = answer?.isStale === true;
    if (head !== undefined) return marked(this.#headAnswer(ask, head, head.digest), isStale);
    if (found !== undefined) return marked(this.#learn(ask, found), isStale);
    throw notFound('manifest');
  }

  async #hubDigest(ask: ManifestAsk, digest: Digest, o: CallOptions): Promise<ManifestAnswer> {
    const { content, rights, local, originOf } = this.#modules;
    const place = placeOf(ask);
    const mayRead = this.#mayRead(ask);
    const { authorization } = ask;
    const covered = rights.coversManifest(place, digest, { authorization, mayRead });
    const stored = await local.getSmall(digest);
    if (covered && stored !== undefined) return this.#learn(ask, withType(stored, digest), 'book');
    const grant = await this.#grantFor(ask, digest, o);
    // A grant of the node is a right of the runtime only if that has one itself.
    const granted = grant !== undefined && (grant.isPrivate !== true || mayRead);
    if (covered || granted) {
      const request = { ...place, digest, grant };
      const bytes = stored ?? (await content.manifest(request, o));
      if (bytes !== undefined)
        return this.#learn(ask, withType(bytes, digest), covered ? 'book' : 'none');
    }
    const options = { ...o, authorization: ask.authorization };
    const found = await originOf(ask.target).getManifest(ask.repository, ask.reference, options);
    if (found === undefined) throw notFound('manifest');
    return this.#learn(ask, found);
  }

  #mayRead({ target, repository, authorization }: ManifestAsk): boolean {
    return target.kind === 'hub' && this.#modules.hubTokens.mayRead(authorization, repository);
  }

  /** Without a grant the hub is asked itself, so a failure here is not yet a failed request. */
  async #grantFor(
    ask: ManifestAsk,
    digest: Digest,
    o: CallOptions,
  ): Promise<GrantBundle | undefined> {
    try {
      const { namespace } = ask.target;
      const options = { ...o, authorization: ask.authorization };
      return await this.#modules.grants.ensure(namespace, ask.repository, digest, options);
    } catch (err) {
      o.signal?.throwIfAborted();
      const { repository } = ask;
      this.#modules.logger.debug({ err, repository, digest }, 'no grant, asking the hub itself');
      return undefined;
    }
  }

  async #fromUpstream(ask: ManifestAsk, o: CallOptions): Promise<ManifestAnswer> {
    const { local, rights, originOf } = this.#modules;
    const source = originOf(ask.target);
    const asked = ask.reference.kind === 'digest' ? ask.reference.digest : undefined;
    // What needed credentials is confirmed at the upstream each time.
    if (asked !== undefined && rights.coversManifest(placeOf(ask), asked, NOBODY)) {
      const stored = await local.getSmall(asked);
      if (stored !== undefined) return this.#learn(ask, withType(stored, asked));
    }
    // A HEAD is free where a GET counts against the rate limit of the upstream.
    const options = { ...o, authorization: ask.authorization };
    const head = await source.headManifest(ask.repository, ask.reference, options);
    if (head === undefined) throw notFound('manifest');
    const digest = asked ?? head.digest;
    if (ask.method === 'HEAD') return this.#headAnswer(ask, head, digest);
    const stored = digest === undefined ? undefined : await local.getSmall(digest);
    if (stored !== undefined && digest !== undefined) {
      return this.#learn(ask, withType(stored, digest));
    }
    const reference: Reference = digest === undefined ? ask.reference : { kind: 'digest', digest };
    const found = await source.getManifest(ask.repository, reference, options);
    if (found === undefined) throw notFound('manifest');
    return this.#learn(ask, found);
  }

  /**
   * Keeps what was resolved: the bytes, and the right to what the manifest references. `proof`: who
   * said that it is a manifest of the place. Without, a grant covers the bytes, but perhaps as a
   * layer that somebody wrote like a manifest.
   */
  #learn(ask: ManifestAsk, found: ManifestBytes, proof: Proof = 'registry'): ManifestAnswer {
    const { bytes, digest } = found;
    const { content, local, logger, rights } = this.#modules;
    let mediaType = found.mediaType;
    try {
      const manifest = parseManifest(bytes, mediaType === '' ? undefined : mediaType);
      mediaType = manifest.mediaType;
      if (proof === 'registry') rights.learn(placeOf(ask), digest, manifest, ask.authorization);
      if (proof === 'book') rights.inherit(placeOf(ask), digest, manifest);
      if (proof !== 'none') content.notice(placeOf(ask), digest, bytes);
      // Whether it is a manifest of the place the hub knows best.
      content.ahead(placeOf(ask), digest, bytes);
      local.putSmall(digest, bytes, placeOf(ask)).catch((err: unknown) => {
        logger.debug({ err, digest }, 'manifest is not kept');
      });
      this.#prepareGrant(ask, digest);
    } catch (err) {
      // Some artifact we cannot read: passed on, but it gives no rights and is not kept.
      logger.debug({ err, digest }, 'manifest is not understood');
    }
    if (mediaType === '') mediaType = 'application/octet-stream';
    return { facts: { digest, size: bytes.length, mediaType }, bytes };
  }

  /** A runtime that asks no further has the image already. */
  #headAnswer(ask: ManifestAsk, head: ManifestHead, digest: Digest | undefined): ManifestAnswer {
    if (digest !== undefined) this.#modules.content.notice(placeOf(ask), digest);
    return { facts: { digest, size: head.size, mediaType: head.mediaType }, bytes: undefined };
  }

  /** The blobs are asked for in a moment; their grant should be there by then. */
  #prepareGrant(ask: ManifestAsk, digest: Digest): void {
    if (ask.target.kind !== 'hub' || ask.reference.kind !== 'tag') return;
    const { grants, logger } = this.#modules;
    const { authorization } = ask;
    grants
      .ensure(ask.target.namespace, ask.repository, digest, { authorization })
      .catch((err: unknown) => {
        logger.debug({ err, digest }, 'no grant yet');
      });
  }
}

/** The warning of the hub goes on to the runtime. */
function marked({ facts, bytes }: ManifestAnswer, isStale: boolean): ManifestAnswer {
  return isStale ? { facts: { ...facts, isStale }, bytes } : { facts, bytes };
}

function placeOf(ask: ManifestAsk): { namespace: string; repository: Repository } {
  return { namespace: ask.target.namespace, repository: ask.repository };
}

/** The media type is read out of the manifest itself. */
function withType(bytes: Buffer, digest: Digest): ManifestBytes {
  return { bytes, digest, mediaType: '' };
}
