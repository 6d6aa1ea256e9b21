import type { Connection } from '@libp2p/interface';
import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import type { MemberDirectory } from '../fleet/member-book.ts';
import type { BanBook } from './bans.ts';
import {
  ADMISSION_TIMEOUT_MS,
  CONNECTIONS_PER_PEER_MAX,
  LINK_IDLE_MS,
  UNADMITTED_CONNECTIONS_MAX,
} from './constants.ts';
import { PeerError } from './errors.ts';
import type { CountRefusals } from './metrics.ts';
import type { MuxerGuard } from './muxer-guard.ts';

type Entry = {
  readonly connection: Connection;
  readonly peerId: string;
  readonly settled: PromiseWithResolvers<boolean>;
  readonly timer: NodeJS.Timeout;
  admitted: boolean;
  helloTaken: boolean;
  /** Of the exchange messages, as agreed in the hello; 0 before it. */
  version: number;
};

/**
 * Which connections have passed their hello. A connection begins unadmitted, may then open nothing
 * but the hello, and is cut when that does not succeed in time.
 */
export class Admission {
  readonly #modules: {
    members: MemberDirectory;
    bans: BanBook;
    guard: MuxerGuard;
    refused: CountRefusals;
    logger: Logger;
  };
  readonly #entries = new Map<string, Entry>();
  #unadmitted = 0;

  constructor(modules: {
    members: MemberDirectory;
    bans: BanBook;
    guard: MuxerGuard;
    refused: CountRefusals;
    logger: Logger;
  }) {
    this.#modules = modules;
  }

  get counts(): { admitted: number; unadmitted: number } {
    return { admitted: this.#entries.size - this.#unadmitted, unadmitted: this.#unadmitted };
  }

  /** Whether a peer that has just proved its id may keep the connection. */
  allows(peerId: string): boolean {
    if (this.#modules.bans.isBanned(peerId)) return false;
    let connections = 0;
    for (const entry of this.#entries.values()) if (entry.peerId === peerId) connections++;
    if (connections >= CONNECTIONS_PER_PEER_MAX) return false;
    const known = this.#modules.members.get(peerId) !== undefined;
    return known || this.#unadmitted < UNADMITTED_CONNECTIONS_MAX;
  }

  /** Begins the watch over a new connection. */
  opened(connection: Connection): void {
    if (this.#entries.has(connection.id)) return;
    const timer = setTimeout(() => {
      this.#modules.refused('hello_timeout');
      connection.abort(new Error('no hello in time'));
    }, ADMISSION_TIMEOUT_MS);
    this.#entries.set(connection.id, {
      connection,
      peerId: connection.remotePeer.toString(),
      settled: Promise.withResolvers<boolean>(),
      timer,
      admitted: false,
      helloTaken: false,
      version: 0,
    });
    this.#unadmitted++;
  }

  /** Ends the watch. */
  closed(connection: Connection): void {
    const entry = this.#entries.get(connection.id);
    if (!entry) return;
    this.#entries.delete(connection.id);
    clearTimeout(entry.timer);
    if (!entry.admitted) this.#unadmitted--;
    entry.settled.resolve(false);
  }

  /** True for the first caller: a connection gets one hello. */
  takeHello(connection: Connection): boolean {
    this.opened(connection);
    const entry = this.#entries.get(connection.id);
    if (!entry || entry.helloTaken) return false;
    entry.helloTaken = true;
    return true;
  }

  /**
   * Admits the connection on the peer's certificate, to speak that version of the exchange. Throws
   * TrustError when it does not verify, PeerError BANNED, and PROTOCOL when it belongs to another
   * peer.
   */
  admit(connection: Connection, certificate: Uint8Array, version: number): Membership {
    const peerId = connection.remotePeer.toString();
    const membership = this.#modules.members.learn(certificate);
    if (membership.peerId !== peerId) {
      throw new PeerError(`The hello carries the certificate of ${membership.node}.`, {
        code: 'PROTOCOL',
        peerId,
      });
    }
    if (this.#modules.bans.isBanned(peerId)) {
      throw new PeerError(`${membership.node} is banned.`, { code: 'BANNED', peerId });
    }
    const entry = this.#entries.get(connection.id);
    if (!entry) throw new PeerError('The connection is closed.', { code: 'CLOSED', peerId });
    if (!entry.admitted) {
      entry.admitted = true;
      entry.version = version;
      this.#unadmitted--;
      clearTimeout(entry.timer);
      this.#modules.guard.admit(connection.streams);
      entry.settled.resolve(true);
    }
    return membership;
  }

  /** The peer's membership while the connection may be used, else undefined. */
  membershipOf(connection: Connection): Membership | undefined {
    const entry = this.#entries.get(connection.id);
    if (!entry?.admitted || this.#modules.bans.isBanned(entry.peerId)) return undefined;
    return this.#modules.members.get(entry.peerId)?.membership;
  }

  /** The version of the exchange that both sides of an admitted connection speak, else 0. */
  versionOf(connection: Connection): number {
    return this.#entries.get(connection.id)?.version ?? 0;
  }

  /** Whether the connection is admitted, after a hello that is under way has ended. */
  async settled(connection: Connection): Promise<boolean> {
    const entry = this.#entries.get(connection.id);
    return entry !== undefined && (entry.admitted || (entry.helloTaken && entry.settled.promise));
  }

  /** Waits for the hello; bounded, since a connection without one is cut. */
  async admitted(connection: Connection): Promise<boolean> {
    return (await this.#entries.get(connection.id)?.settled.promise) ?? false;
  }

  /** An open, admitted connection to the peer. */
  connectionTo(peerId: string): Connection | undefined {
    for (const { connection, admitted, peerId: at } of this.#entries.values()) {
      if (at === peerId && admitted && connection.status === 'open') return connection;
    }
    return undefined;
  }

  /** Peers with an admitted connection. */
  peers(): Set<string> {
    const peers = new Set<string>();
    for (const entry of this.#entries.values()) if (entry.admitted) peers.add(entry.peerId);
    return peers;
  }

  /** Cuts every connection of a peer. */
  cut(peerId: string, why: Error): void {
    for (const { connection, peerId: at } of this.#entries.values()) {
      if (at === peerId) abort(connection, why, this.#modules.logger);
    }
  }

  /** Closes the admitted connections that carry no stream in either direction. */
  closeUnused(): void {
    for (const { connection, admitted } of this.#entries.values()) {
      // A young connection may be about to get its first stream.
      const young = Date.now() - connection.timeline.open < LINK_IDLE_MS;
      if (admitted && !young && connection.streams.length === 0)
        abort(connection, new Error('unused'), this.#modules.logger);
    }
  }

  /** Cuts everything. */
  cutAll(why: Error): void {
    for (const { connection } of this.#entries.values()) {
      abort(connection, why, this.#modules.logger);
    }
  }

  /** Cuts the connections of peers that stopped being members. */
  sweep(): void {
    for (const { connection, admitted, peerId } of this.#entries.values()) {
      if (!admitted || this.#modules.members.get(peerId)) continue;
      this.#modules.logger.warn({ peerId }, 'membership ended or revoked, connection cut');
      abort(connection, new Error('membership ended'), this.#modules.logger);
    }
  }
}

function abort(connection: Connection, why: Error, logger: Logger): void {
  try {
    connection.abort(why);
  } catch (err) {
    logger.debug({ err: messageOf(err) }, 'connection was gone already');
  }
}
