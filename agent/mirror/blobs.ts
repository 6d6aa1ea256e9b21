import { hasCode } from '../../proto/std/errors.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { isOfUpstream, type Repository } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { BlobHandle, CallOptions, Client } from '../fetch/ports.ts';
import { notFound } from './errors.ts';
import type { Target } from './namespace.ts';
import type { ContentSource, GrantSource, HubTokenReader, LocalContent, Origin } from './ports.ts';
import type { ContentFacts } from './response-plan.ts';
import type { RightsBook } from './rights.ts';
import type { StallBook } from './stalls.ts';

export type BlobAsk = {
  target: Target;
  repository: Repository;
  digest: Digest;
  method: string;
  authorization: string | undefined;
  client?: Client | undefined;
};

/** `handle` is absent when only the facts were asked for; else the caller disposes it. */
export type BlobAnswer = { facts: ContentFacts; handle: BlobHandle | undefined };

export type BlobModules = {
  local: LocalContent;
  content: ContentSource;
  grants: GrantSource;
  hubTokens: HubTokenReader;
  rights: RightsBook;
  stalls: StallBook;
  originOf: (target: Target) => Origin;
  logger: Logger;
};

/** `isClaim`: nobody but the registry says so. */
type Right = {
  grant: GrantBundle | undefined;
  size: number | undefined;
  isClaim?: boolean;
};

const BLOB_MEDIA_TYPE = 'application/octet-stream';

/** Opens blobs for runtimes that may have them under the name they ask with. */
export class Blobs {
  readonly #modules: BlobModules;

  constructor(modules: BlobModules) {
    this.#modules = modules;
  }

  /** @throws MirrorError NOT_FOUND, UNAUTHORIZED, UNAVAILABLE; errors of the fetch room */
  async open(ask: BlobAsk, o: CallOptions): Promise<BlobAnswer> {
    const { digest } = ask;
    const right = await this.#rightTo(ask, o);
    this.#refuseStalled(digest);
    if (ask.method === 'HEAD') {
      const size = right.size ?? (await this.#sizeHere(digest)) ?? (await this.#headSize(ask, o));
      if (size !== undefined) return { facts: factsOf(digest, size), handle: undefined };
    }
    const handle = await this.#openContent(ask, right, o);
    if (ask.method !== 'HEAD') return { facts: factsOf(digest, handle.size), handle };
    handle[Symbol.dispose]();
    return { facts: factsOf(digest, handle.size), handle: undefined };
  }

  /**
   * Knowing a digest is a right: a manifest resolved under this name or a grant covers it, or the
   * registry itself confirms it there. `size` is what the registry then said. Of an upstream behind
   * the hub that is a claim: it may say so of what others have.
   */
  async #rightTo(ask: BlobAsk, o: CallOptions): Promise<Right> {
    const { rights, originOf } = this.#modules;
    const place = { namespace: ask.target.namespace, repository: ask.repository };
    const { authorization } = ask;
    const isHub = ask.target.kind === 'hub';
    const mayRead = isHub && this.#modules.hubTokens.mayRead(authorization, ask.repository);
    const covered = rights.covers(place, ask.digest, { authorization, mayRead });
    if (covered) this.#refuseStalled(ask.digest);
    // What is all here needs no peer, so nobody has to be asked for a grant.
    if (covered && (await this.#isHere(ask.digest))) return { grant: undefined, size: undefined };
    const grant = isHub ? await this.#grantFor(ask, o) : undefined;
    // A grant of the node is a right of the runtime only if that has one itself.
    const granted = grant !== undefined && (grant.isPrivate !== true || mayRead);
    if (covered || granted) return { grant, size: undefined };
    const options = { ...o, authorization: ask.authorization };
    const head = await originOf(ask.target).headBlob(ask.repository, ask.digest, options);
    if (head === undefined) throw notFound('blob');
    if (!isHub || !isOfUpstream(ask.repository)) return { grant, size: head.size };
    // What everybody may read the hub gives the repository when it is asked.
    const now = grant ?? (await this.#grantFor(ask, o));
    return { grant: now, size: head.size, isClaim: now === undefined };
  }

  /** Only to who may have the blob: that it is fetched here is nothing for others. */
  #refuseStalled(digest: Digest): void {
    if (this.#modules.stalls.isStalled(digest)) throw notFound('stalled');
  }

  async #grantFor(ask: BlobAsk, o: CallOptions): Promise<GrantBundle | undefined> {
    const { repository, digest, authorization } = ask;
    const options = { ...o, authorization };
    try {
      return await this.#modules.grants.ensure(ask.target.namespace, repository, digest, options);
    } catch (err) {
      o.signal?.throwIfAborted();
      this.#modules.logger.debug({ err, repository, digest }, 'no grant, asking the hub itself');
      return undefined;
    }
  }

  async #isHere(digest: Digest): Promise<boolean> {
    const { local } = this.#modules;
    return local.find(digest)?.complete ?? (await local.getSmall(digest)) !== undefined;
  }

  async #sizeHere(digest: Digest): Promise<number | undefined> {
    const { local } = this.#modules;
    return local.find(digest)?.size ?? (await local.getSmall(digest))?.length;
  }

  /** undefined: the registry cannot tell now, but a peer may. */
  async #headSize(ask: BlobAsk, o: CallOptions): Promise<number | undefined> {
    const options = { ...o, authorization: ask.authorization };
    const source = this.#modules.originOf(ask.target);
    try {
      const head = await source.headBlob(ask.repository, ask.digest, options);
      if (head === undefined) throw notFound('blob');
      return head.size;
    } catch (err) {
      o.signal?.throwIfAborted();
      if (!hasCode(err, 'UNAVAILABLE')) throw err;
      return undefined;
    }
  }

  async #openContent(
    ask: BlobAsk,
    { grant, size, isClaim = false }: Right,
    o: CallOptions,
  ): Promise<BlobHandle> {
    const { repository, digest, client } = ask;
    const { namespace } = ask.target;
    try {
      const claimed = isClaim ? { claimedSize: size } : {};
      const request = { namespace, repository, digest, grant, client, ...claimed };
      return await this.#modules.content.open(request, o);
    } catch (err) {
      if (hasCode(err, 'NOT_FOUND')) throw notFound('blob');
      throw err;
    }
  }
}

function factsOf(digest: Digest, size: number): ContentFacts {
  return { digest, size, mediaType: BLOB_MEDIA_TYPE };
}
