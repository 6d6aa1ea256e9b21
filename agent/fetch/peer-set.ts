import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import { LINK_RESTS_MAX, LINK_REST_MS } from './constants.ts';
import { chooseLinks } from './link-choice.ts';
import { PeerSession } from './peer-session.ts';
import type { SoughtBlob } from './peer-session.ts';
import type { PlannerEvent } from './planner-port.ts';
import type { Swarm } from './ports.ts';

export type PeerSetModules = {
  swarm: Swarm;
  grant: (o: { signal: AbortSignal }) => Promise<GrantBundle | undefined>;
  /** Told of peers that come, go and gain chunks. */
  onEvent: (event: PlannerEvent) => void;
  /** How long to leave a peer alone between two questions about what it holds. */
  spacingMs: () => number;
  logger: Logger;
};

type Member = { session: PeerSession; stop: AbortController; node: string; near: boolean };

/** The peers one download is linked to: at most LINKS_MAX. */
export class PeerSet {
  readonly #members = new Map<string, Member>();
  /** Peers that were of no use, and until when they are left alone. */
  readonly #resting = new Map<string, number>();
  /** Peers named last that found no place. */
  #spares: readonly Membership[] = [];
  readonly #blob: SoughtBlob;
  readonly #modules: PeerSetModules;
  #closed = false;

  constructor(blob: SoughtBlob, modules: PeerSetModules) {
    this.#blob = blob;
    this.#modules = modules;
  }

  get size(): number {
    return this.#members.size;
  }

  /** Node name of a linked peer, for logs. */
  nodeOf(peerId: string): string {
    return this.#members.get(peerId)?.node ?? 'unknown';
  }

  /** Whether a linked peer is of another zone. */
  isFar(peerId: string): boolean {
    return this.#members.get(peerId)?.near === false;
  }

  /** Links to those of the candidates that are new, as far as there is room; near ones first. */
  add(candidates: readonly Membership[]): void {
    if (this.#closed) return;
    const now = performance.now();
    const linked = { near: 0, far: 0 };
    for (const { near } of this.#members.values()) linked[near ? 'near' : 'far'] += 1;
    const fresh = candidates.filter(({ peerId }) => this.#isFresh(peerId, now));
    const chosen = chooseLinks(fresh, linked, (member) => this.#isNear(member));
    this.#spares = chosen.spare;
    for (const member of chosen.now) {
      this.#resting.delete(member.peerId);
      void this.#follow(member);
    }
  }

  /** The peer answered otherwise than it announced: look again. */
  refresh(peerId: string): void {
    this.#members.get(peerId)?.session.refresh();
  }

  /** Lets a peer go at once. */
  drop(peerId: string): void {
    this.#members.get(peerId)?.stop.abort(new Error('dropped'));
  }

  close(): void {
    this.#closed = true;
    for (const { stop } of this.#members.values()) stop.abort(new Error('download has ended'));
  }

  #isFresh(peerId: string, now: number): boolean {
    const { swarm } = this.#modules;
    if (this.#members.has(peerId) || peerId === swarm.peerId) return false;
    return (this.#resting.get(peerId) ?? 0) <= now && !swarm.isBanned(peerId);
  }

  /** Of our own zone, as the tracker sees it: those of no zone are of one as well. */
  #isNear({ zone }: Membership): boolean {
    return zone === this.#modules.swarm.zone;
  }

  async #follow(member: Membership): Promise<void> {
    const { peerId, node } = member;
    const near = this.#isNear(member);
    const { swarm, grant, onEvent, spacingMs, logger } = this.#modules;
    const stop = new AbortController();
    let isUp = false;
    const session = new PeerSession(this.#blob, {
      swarm,
      grant,
      spacingMs,
      onUp: () => {
        isUp = true;
        onEvent({ type: 'peerUp', peerId, near });
      },
      onHave: (have) => onEvent({ type: 'availability', peerId, have }),
    });
    this.#members.set(peerId, { session, stop, node, near });
    try {
      await session.run(member, stop.signal);
    } catch (err) {
      const fields = { digest: this.#blob.digest, node, reason: messageOf(err) };
      if (!this.#closed) logger.debug(fields, 'peer let go');
    }
    this.#members.delete(peerId);
    this.#rest(peerId);
    if (isUp && !this.#closed) onEvent({ type: 'peerDown', peerId });
    this.add(this.#spares);
  }

  #rest(peerId: string): void {
    const oldest = this.#resting.keys().next();
    if (this.#resting.size >= LINK_RESTS_MAX && oldest.done === false) {
      this.#resting.delete(oldest.value);
    }
    this.#resting.set(peerId, performance.now() + LINK_REST_MS);
  }
}
