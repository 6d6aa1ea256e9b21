import type { Connection, Libp2p } from '@libp2p/interface';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import type { BanReason, CallOptions } from '../fetch/ports.ts';
import type { MemberDirectory } from '../fleet/member-book.ts';
import type { Admission } from './admission.ts';
import { LINK_IDLE_MS, LINK_TIMEOUT_MS, PEER_EXCHANGE_MAX } from './constants.ts';
import { PeerError } from './errors.ts';
import { dialAddresses } from './gater.ts';
import type { HelloProtocol } from './hello.ts';
import type { LaneSocket } from './lane/lane-socket.ts';
import type { SwarmMetrics } from './metrics.ts';
import { Libp2pPeerLink } from './peer-link.ts';

export type LinksOptions = {
  bodyStallMs: number;
  steadyNow: () => number;
  stopped: AbortSignal;
};

export type LinksModules = {
  node: Libp2p;
  admission: Admission;
  hello: HelloProtocol;
  members: MemberDirectory;
  /** Throws BANNED, NOT_A_MEMBER, or the reason when the swarm is stopped. */
  memberOf: (peerId: string) => Membership;
  ban: (peerId: string, reason: BanReason, detail: object) => void;
  isBanned: (peerId: string) => boolean;
  /** Over 0 while no hub answers. */
  graceMs: () => number;
  /** See LaneBook.forQuestion. Throws what `memberOf` throws. */
  questionLane: (peerId: string) => LaneSocket | undefined;
  metrics: SwarmMetrics;
  logger: Logger;
};

/** The links this node asks questions over: one for each peer, made when it is wanted. */
export class Links {
  readonly #open = new Map<string, Libp2pPeerLink>();
  readonly #linking = new Map<string, Promise<Libp2pPeerLink>>();
  readonly #options: LinksOptions;
  readonly #modules: LinksModules;

  constructor(options: LinksOptions, modules: LinksModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Throws what `memberOf` throws, UNREACHABLE, or the reason of the signal. */
  async to(peerId: string, o: CallOptions): Promise<Libp2pPeerLink> {
    this.#modules.memberOf(peerId);
    const open = this.#open.get(peerId);
    if (open && !open.closed) return open;
    let linking = this.#linking.get(peerId);
    if (!linking) {
      linking = this.#connect(peerId).finally(() => this.#linking.delete(peerId));
      this.#linking.set(peerId, linking);
    }
    return abortable(linking, o.signal);
  }

  cut(peerId: string): void {
    this.#open.get(peerId)?.close();
    this.#open.delete(peerId);
  }

  /** A connection to the peer has ended. */
  lost(peerId: string): void {
    if (this.#open.get(peerId)?.closed === true) this.cut(peerId);
  }

  /** Closes those that nobody used for LINK_IDLE_MS. */
  closeIdle(): void {
    for (const [peerId, link] of this.#open) {
      const quietMs = this.#options.steadyNow() - link.lastAskedMs;
      if (link.closed || quietMs >= LINK_IDLE_MS) this.cut(peerId);
    }
  }

  close(): void {
    for (const peerId of this.#open.keys()) this.cut(peerId);
  }

  async #connect(peerId: string): Promise<Libp2pPeerLink> {
    const { admission, memberOf, ban, isBanned, graceMs, metrics } = this.#modules;
    const { bodyStallMs, steadyNow, stopped } = this.#options;
    using limit = deadline(LINK_TIMEOUT_MS, stopped);
    const membership = memberOf(peerId);
    try {
      const connection =
        admission.connectionTo(peerId) ?? (await this.#dial(membership, limit.signal));
      const onViolation = (err: Error): void => {
        ban(peerId, 'protocol-violation', { reason: messageOf(err) });
      };
      const version = admission.versionOf(connection);
      const questionLane = (): LaneSocket | undefined => this.#modules.questionLane(peerId);
      const modules = { metrics, onViolation, bodyStallMs, steadyNow, version, questionLane };
      const link = await Libp2pPeerLink.open(membership, connection, modules, limit);
      if (isBanned(peerId)) {
        link.close();
        throw new PeerError('The peer is banned.', { code: 'BANNED', peerId });
      }
      this.#open.set(peerId, link);
      if (graceMs() > 0) void this.#askForPeers(link);
      return link;
    } catch (cause) {
      stopped.throwIfAborted();
      throw new PeerError(
        `No link to ${membership.node} at ${membership.addresses.join(', ')}.`,
        { code: 'UNREACHABLE', peerId },
        { cause },
      );
    }
  }

  // While no hub answers, members are learned from one another.
  async #askForPeers(link: Libp2pPeerLink): Promise<void> {
    const { members, logger } = this.#modules;
    const fields = { node: link.node, peerId: link.peerId };
    try {
      const o = { signal: this.#options.stopped };
      for (const certificate of await link.peers(PEER_EXCHANGE_MAX, o)) members.learn(certificate);
    } catch (err) {
      logger.debug({ ...fields, reason: messageOf(err) }, 'peer exchange failed');
    }
  }

  async #dial(member: Membership, signal: AbortSignal): Promise<Connection> {
    const { node, admission, hello, metrics } = this.#modules;
    try {
      const connection = await node.dial(dialAddresses(member), { signal });
      admission.opened(connection);
      if (connection.direction === 'outbound') {
        await hello.greet(connection, { signal });
      } else if (!(await abortable(admission.admitted(connection), signal))) {
        // The peer dialled us meanwhile, so the hello is its to say.
        throw new PeerError('The peer said no hello.', { code: 'UNREACHABLE' });
      }
      metrics.dials.inc({ outcome: 'connected' });
      return connection;
    } catch (err) {
      metrics.dials.inc({ outcome: 'failed' });
      throw err;
    }
  }
}
