import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import { LINKS_MAX, LINK_RESTS_MAX, LINK_REST_MS } from './constants.ts';
import { PeerSession } from './peer-session.ts';
import type { PlannerEvent } from './planner-port.ts';
import type { Swarm } from './ports.ts';

export type PeerSetModules = {
  swarm: Swarm;
  grant: (o: { signal: AbortSignal }) => Promise<GrantBundle | undefined>;
  /** Told of peers that come, go and gain chunks. */
  onEvent: (event: PlannerEvent) => void;
  logger: Logger;
};

type Member = { session: PeerSession; stop: AbortController; node: string };

/** The peers one download is linked to: at most LINKS_MAX. */
export class PeerSet {
  readonly #members = new Map<string, Member>();
  /** Peers that were of no use, and until when they are left alone. */
  readonly #resting = new Map<string, number>();
  readonly #blob: { digest: Digest; size: number; chunkCount: number };
  readonly #modules: PeerSetModules;
  #closed = false;

  constructor(blob: { digest: Digest; size: number; chunkCount: number }, modules: PeerSetModules) {
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

  /** Links to those of the candidates that are new, as far as there is room. */
  add(candidates: readonly Membership[]): void {
    const now = performance.now();
    for (const member of candidates) {
      const { peerId } = member;
      if (this.#closed || this.#members.size >= LINKS_MAX) return;
      if (this.#members.has(peerId) || peerId === this.#modules.swarm.peerId) continue;
      if ((this.#resting.get(peerId) ?? 0) > now || this.#modules.swarm.isBanned(peerId)) continue;
      this.#resting.delete(peerId);
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

  async #follow(member: Membership): Promise<void> {
    const { peerId, node } = member;
    const { swarm, grant, onEvent, logger } = this.#modules;
    const stop = new AbortController();
    let isUp = false;
    const session = new PeerSession(this.#blob, {
      swarm,
      grant,
      onUp: () => {
        isUp = true;
        onEvent({ type: 'peerUp', peerId });
      },
      onHave: (have) => onEvent({ type: 'availability', peerId, have }),
    });
    this.#members.set(peerId, { session, stop, node });
    try {
      await session.run(member, stop.signal);
    } catch (err) {
      const fields = { digest: this.#blob.digest, node, reason: messageOf(err) };
      if (!this.#closed) logger.debug(fields, 'peer let go');
    }
    this.#members.delete(peerId);
    this.#rest(peerId);
    if (isUp && !this.#closed) onEvent({ type: 'peerDown', peerId });
  }

  #rest(peerId: string): void {
    const oldest = this.#resting.keys().next();
    if (this.#resting.size >= LINK_RESTS_MAX && oldest.done === false) {
      this.#resting.delete(oldest.value);
    }
    this.#resting.set(peerId, performance.now() + LINK_REST_MS);
  }
}
