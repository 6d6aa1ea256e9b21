import { hash } from 'node:crypto';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { decodeResponse, encodeResponse } from '../../proto/swarm/response.ts';
import { verifyGrant } from '../../proto/trust/grant.ts';
import type { Grant, GrantBundle } from '../../proto/trust/grant.ts';
import { askPeers, type PeerQuestion } from './ask-peers.ts';
import { LentTokens } from './lent-tokens.ts';
import { GRANT_FRESH_MS, GRANT_OUTAGE_GRACE_MS, GRANT_TIMEOUT_MS } from './constants.ts';
import { FarSearches } from './far-search.ts';
import { firstOf } from './first-of.ts';
import { GrantCache } from './grant-cache.ts';
import type { HeldGrant } from './grant-cache.ts';
import type { FleetClient, ShownOptions, Swarm } from './ports.ts';

export type GrantOptions = {
  /** How long grants are used beyond their end while the hub cannot be asked. */
  outageGraceMs?: number;
  now?: () => number;
  /** Told when a grant was added or removed. */
  onChange?: () => void;
};

type Asked = {
  namespace: string;
  repository: string;
  digest: Digest;
  authorization: string | undefined;
};

export type GrantModules = {
  fleet: Pick<FleetClient, 'requestGrant' | 'online' | 'trust' | 'fleetId'>;
  swarm: Swarm;
  logger: Logger;
};

/**
 * The rights of this node: grants it got from the hub, or, while the hub cannot be asked, public
 * ones that a peer relays. Each is verified before it is used or passed on.
 */
export class GrantBook {
  readonly #cache = new GrantCache();
  readonly #lent: LentTokens;
  readonly #asking = new Map<string, Promise<GrantBundle | undefined>>();
  readonly #outageGraceMs: number;
  readonly #now: () => number;
  readonly #onChange: () => void;
  readonly #modules: GrantModules;
  readonly #far: FarSearches;

  constructor(options: GrantOptions, modules: GrantModules) {
    this.#outageGraceMs = options.outageGraceMs ?? GRANT_OUTAGE_GRACE_MS;
    this.#now = options.now ?? Date.now;
    this.#lent = new LentTokens({ now: this.#now });
    this.#onChange = options.onChange ?? (() => {});
    this.#modules = modules;
    this.#far = new FarSearches(modules);
  }

  /**
   * A grant that covers the digest under this name. undefined: the hub knows no such content there,
   * or nobody who could be asked has a grant. A private one says that this node has the right, not
   * that the runtime has it which asks now.
   * @throws the reason of the signal
   */
  async ensure(
    namespace: string,
    repository: string,
    digest: Digest,
    o: ShownOptions,
  ): Promise<GrantBundle | undefined> {
    const held = this.#cache.get(namespace, repository, digest);
    if (held !== undefined && held.grant.notAfterMs - this.#now() > GRANT_FRESH_MS) {
      return held.bundle;
    }
    // What one runtime may not have is no answer to another that shows more.
    const shown = o.authorization === undefined ? '' : hash('sha256', o.authorization);
    const key = `${namespace}\n${repository}\n${digest}\n${shown}`;
    const running = this.#asking.get(key);
    if (running !== undefined) return abortable(running, o.signal);
    const asking = this.#ask(
      { namespace, repository, digest, authorization: o.authorization },
      held,
    );
    this.#asking.set(key, asking);
    try {
      return await asking;
    } finally {
      this.#asking.delete(key);
      o.signal?.throwIfAborted();
    }
  }

  /**
   * Takes a grant that the hub gave unasked; when it ends, ms since 1970.
   * @throws TrustError or Error for one that does not verify, or is for something else
   */
  put(
    bundle: GrantBundle,
    place: { namespace: string; repository: string; digest: Digest },
  ): number {
    const { namespace, repository, digest } = place;
    return this.#take(bundle, namespace, repository, digest).grant.notAfterMs;
  }

  /** A public grant to pass on to a peer that asks for one; never one with an audience. */
  publicGrant(namespace: string, repository: string, digest: Digest): GrantBundle | undefined {
    const held = this.#cache.get(namespace, repository, digest);
    if (held === undefined || held.grant.peerId !== '') return undefined;
    return this.#isUsable(held) ? held.bundle : undefined;
  }

  /** Ends what goes on in the background. */
  async close(): Promise<void> {
    await this.#far.close();
  }

  /**
   * What this node reads a repository with that not everybody may read, while it has that right. It
   * is renewed in the background before it ends.
   */
  tokenFor(namespace: string, repository: string): string | undefined {
    const lent = this.#lent.get(namespace, repository);
    if (lent === undefined) return undefined;
    if (lent.notAfterMs - this.#now() < GRANT_FRESH_MS) {
      this.ensure(namespace, repository, lent.manifestDigest, {}).catch((err: unknown) => {
        this.#modules.logger.debug({ repository, reason: messageOf(err) }, 'right not renewed');
      });
    }
    return lent.token;
  }

  get size(): number {
    return this.#cache.size;
  }

  /** The public grants in force, as bytes for the next run; the one used last is at the end. */
  kept(): Buffer[] {
    const lasting = this.#cache.all().filter((held) => held.grant.peerId === '');
    return lasting.filter((held) => this.#isUsable(held)).map(({ bundle }) => encodeKept(bundle));
  }

  /** Takes in what an earlier run kept, as far as it still verifies. */
  restore(kept: readonly Buffer[]): void {
    for (const bytes of kept) {
      try {
        const bundle = decodeKept(bytes);
        const grant = this.#verify(bundle);
        if (grant.peerId === '') this.#cache.add({ grant, bundle });
      } catch (err) {
        this.#modules.logger.debug({ reason: messageOf(err) }, 'kept grant is of no use now');
      }
    }
  }

  async #ask(place: Asked, held: HeldGrant | undefined): Promise<GrantBundle | undefined> {
    const { namespace, repository, digest } = place;
    const { fleet, logger } = this.#modules;
    const authorization = place.authorization ?? this.#lent.header(namespace, repository);
    if (held !== undefined && !fleet.online && this.#isUsable(held)) return held.bundle;
    // A public grant may be relayed by anybody, so peers are asked beside a hub that is slow.
    const ways = {
      main: (o: { signal: AbortSignal }) =>
        fleet.requestGrant(namespace, repository, digest, { ...o, authorization }),
      other: (o: { signal: AbortSignal }) =>
        askPeers(this.#modules.swarm, this.#question(namespace, repository, digest), o),
      hedge: fleet.online,
    };
    using limit = deadline(GRANT_TIMEOUT_MS);
    try {
      const bundle = await firstOf<GrantBundle | 'not-found'>(ways, { signal: limit.signal });
      if (bundle === 'not-found') {
        // A runtime without rights does not end those of the node.
        if (held?.grant.peerId === '') this.#forget(held);
        return undefined;
      }
      if (bundle !== undefined) return this.#take(bundle, namespace, repository, digest).bundle;
    } catch (err) {
      const fields = { namespace, repository, digest, reason: messageOf(err) };
      logger.debug(fields, 'no grant from the hub, nor from a peer');
    }
    if (held !== undefined && this.#isUsable(held)) return held.bundle;
    if (!fleet.online) {
      const key = `${namespace}\n${repository}\n${digest}`;
      this.#far.begin(key, this.#question(namespace, repository, digest));
    }
    return undefined;
  }

  /** Asks one peer for a grant, and keeps what it gives. */
  #question(namespace: string, repository: string, digest: Digest): PeerQuestion<GrantBundle> {
    return async (link, q) => {
      const bundle = await link.grant(namespace, repository, digest, q);
      return bundle && this.#take(bundle, namespace, repository, digest).bundle;
    };
  }

  /** Verifies, also that it covers what was asked for, and keeps. Throws TrustError or Error. */
  #take(bundle: GrantBundle, namespace: string, repository: string, digest: Digest): HeldGrant {
    const grant = this.#verify(bundle);
    const covers = grant.manifestDigest === digest || bundle.digests.includes(digest);
    if (grant.namespace !== namespace || grant.repository !== repository || !covers) {
      throw new Error(`a grant for ${grant.namespace}/${grant.repository} was given instead`);
    }
    const isPrivate = grant.peerId !== '';
    const held = { grant, bundle: isPrivate ? { ...bundle, isPrivate } : bundle };
    this.#cache.add(held);
    if (isPrivate && bundle.token !== undefined) this.#lent.keep(grant, bundle.token);
    this.#onChange();
    return held;
  }

  #verify(bundle: GrantBundle): Grant {
    const { fleet, swarm } = this.#modules;
    return verifyGrant(bundle.grant, bundle.digests, fleet.trust, {
      nowMs: this.#now(),
      graceMs: fleet.online ? 0 : this.#outageGraceMs,
      fleetId: fleet.fleetId,
      peerId: swarm.peerId,
    });
  }

  #forget(held: HeldGrant): void {
    this.#cache.remove(held);
    this.#onChange();
  }

  #isUsable(held: HeldGrant): boolean {
    const graceMs = this.#modules.fleet.online ? 0 : this.#outageGraceMs;
    return this.#now() < held.grant.notAfterMs + graceMs;
  }
}

/** A grant is kept as a peer would send it. */
function encodeKept(bundle: GrantBundle): Buffer {
  const result = { kind: 'grant', bundle } as const;
  return Buffer.from(encodeResponse({ id: 0, status: 'ok', bodyBytes: 0, result }));
}

function decodeKept(bytes: Buffer): GrantBundle {
  const { result } = decodeResponse(bytes, 0);
  if (result?.kind !== 'grant') throw new Error('no grant');
  return result.bundle;
}
