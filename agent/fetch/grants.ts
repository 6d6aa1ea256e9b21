import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { decodeResponse, encodeResponse } from '../../proto/swarm/response.ts';
import { verifyGrant } from '../../proto/trust/grant.ts';
import type { Grant, GrantBundle } from '../../proto/trust/grant.ts';
import { askPeers, type PeerQuestion } from './ask-peers.ts';
import { GRANT_FRESH_MS, GRANT_OUTAGE_GRACE_MS, GRANT_TIMEOUT_MS } from './constants.ts';
import { FarSearches } from './far-search.ts';
import { firstOf } from './first-of.ts';
import { GrantCache } from './grant-cache.ts';
import type { HeldGrant } from './grant-cache.ts';
import type { CallOptions, FleetClient, Swarm } from './ports.ts';

export type GrantOptions = {
  /** How long grants are used beyond their end while the hub cannot be asked. */
  outageGraceMs?: number;
  now?: () => number;
  /** Told when a grant was added or removed. */
  onChange?: () => void;
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
  readonly #asking = new Map<string, Promise<GrantBundle | undefined>>();
  readonly #outageGraceMs: number;
  readonly #now: () => number;
  readonly #onChange: () => void;
  readonly #modules: GrantModules;
  readonly #far: FarSearches;

  constructor(options: GrantOptions, modules: GrantModules) {
    this.#outageGraceMs = options.outageGraceMs ?? GRANT_OUTAGE_GRACE_MS;
    this.#now = options.now ?? Date.now;
    this.#onChange = options.onChange ?? (() => {});
    this.#modules = modules;
    this.#far = new FarSearches(modules);
  }

  /**
   * A grant that covers the digest under this name. undefined: the hub knows no such content there,
   * or nobody who could be asked has a grant.
   * @throws the reason of the signal
   */
  async ensure(
    namespace: string,
    repository: string,
    digest: Digest,
    o: CallOptions,
  ): Promise<GrantBundle | undefined> {
    const held = this.#cache.get(namespace, repository, digest);
    if (held !== undefined && held.grant.notAfterMs - this.#now() > GRANT_FRESH_MS) {
      return held.bundle;
    }
    const key = `${namespace}\n${repository}\n${digest}`;
    const running = this.#asking.get(key);
    if (running !== undefined) return abortable(running, o.signal);
    const asking = this.#ask(namespace, repository, digest, held);
    this.#asking.set(key, asking);
    try {
      return await asking;
    } finally {
      this.#asking.delete(key);
      o.signal?.throwIfAborted();
    }
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

  async #ask(
    namespace: string,
    repository: string,
    digest: Digest,
    held: HeldGrant | undefined,
  ): Promise<GrantBundle | undefined> {
    const { fleet, logger } = this.#modules;
    if (held !== undefined && !fleet.online && this.#isUsable(held)) return held.bundle;
    // A public grant may be relayed by anybody, so peers are asked beside a hub that is slow.
    const ways = {
      main: (o: { signal: AbortSignal }) => fleet.requestGrant(namespace, repository, digest, o),
      other: (o: { signal: AbortSignal }) =>
        askPeers(this.#modules.swarm, this.#question(namespace, repository, digest), o),
      hedge: fleet.online,
    };
    using limit = deadline(GRANT_TIMEOUT_MS);
    try {
      const bundle = await firstOf<GrantBundle | 'not-found'>(ways, { signal: limit.signal });
      if (bundle === 'not-found') {
        if (held !== undefined) this.#forget(held);
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
    const held = { grant, bundle };
    this.#cache.add(held);
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
