import { constants } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  type Server as TlsServer,
  type TLSSocket,
} from 'node:tls';
import type { Logger } from '../../../proto/ops/logger.ts';
import {
  bindServer,
  formatListen,
  isAddressUnavailable,
  type ListenAddress,
} from '../../../proto/ops/listen.ts';
import { messageOf } from '../../../proto/std/errors.ts';
import type { Membership } from '../../../proto/trust/membership.ts';
import { shownPeerId, type LaneCertificate } from './certificate.ts';
import {
  LANE_ALPN,
  LANE_HANDSHAKE_TIMEOUT_MS,
  LANE_IDLE_MS,
  LANE_SOCKETS_MAX,
  LANE_SOCKETS_PER_PEER_MAX,
} from './constants.ts';
import { Greetings } from './greetings.ts';
import { LaneSession, type SessionModules } from './lane-session.ts';

export type LaneServerModules = Omit<SessionModules, 'member' | 'stillMember'> & {
  /** The membership of a peer that has an admitted libp2p connection to this node now. */
  admitted: (peerId: string) => Membership | undefined;
  certificate: () => LaneCertificate;
  now: () => number;
  logger: Logger;
};

/** Serves chunks over TLS 1.3 sockets to peers that libp2p has admitted, and to nobody else. */
export class LaneServer {
  readonly #modules: LaneServerModules;
  readonly #servers: Server[] = [];
  /** Makes TLS of the connections that the servers take. */
  readonly #tls: TlsServer;
  readonly #greetings = new Greetings();
  readonly #sessions = new Map<string, Set<LaneSession>>();
  readonly #sockets = new Set<TLSSocket>();

  private constructor(modules: LaneServerModules) {
    this.#modules = modules;
    this.#tls = createTlsServer({
      ...contextOf(modules),
      ALPNProtocols: [LANE_ALPN],
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: LANE_HANDSHAKE_TIMEOUT_MS,
    });
    this.#tls.on('secureConnection', (socket) => {
      this.#greetings.ended(socket);
      this.#accept(socket);
    });
    this.#tls.on('tlsClientError', (err, socket) => {
      this.#modules.logger.debug({ reason: messageOf(err) }, 'lane handshake failed');
      socket.destroy();
    });
  }

  /**
   * Listens on one port of all the hosts; port 0: one that is free on the first of them. As with
   * libp2p an IPv6 host is for IPv6 alone. A host of a family this machine lacks is left out.
   * @throws OpsError LISTEN_FAILED
   */
  static async listen(
    hosts: readonly string[],
    port: number,
    modules: LaneServerModules,
  ): Promise<LaneServer> {
    const lanes = new LaneServer(modules);
    try {
      for (const host of hosts) {
        // oxlint-disable-next-line no-await-in-loop -- the port of the first one is for all
        await lanes.#bind({ host, port: port || lanes.port });
      }
    } catch (err) {
      lanes.close();
      throw err;
    }
    return lanes;
  }

  /** Port of the first listener; 0 when there is none. */
  get port(): number {
    const [first] = this.#servers;
    const address = first?.address();
    return typeof address === 'object' ? (address?.port ?? 0) : 0;
  }

  /** Sockets of other agents. */
  get size(): number {
    return this.#sockets.size;
  }

  /** Gives new connections a new certificate; the open ones go on. */
  renew(): void {
    this.#tls.setSecureContext(contextOf(this.#modules));
  }

  /** Cuts the lanes of one peer. */
  cut(peerId: string): void {
    for (const session of this.#sessions.get(peerId) ?? []) session.close();
  }

  /** Cuts the lanes of peers that are not admitted any more. */
  sweep(): void {
    for (const peerId of this.#sessions.keys()) {
      if (this.#modules.admitted(peerId) === undefined) this.cut(peerId);
    }
  }

  close(): void {
    for (const server of this.#servers.splice(0)) server.close();
    this.#greetings.cut();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #bind(address: ListenAddress): Promise<void> {
    const server = createServer({ noDelay: true }, (socket) => this.#greet(socket));
    try {
      await bindServer(server, formatListen(address), { ipv6Only: true });
    } catch (err) {
      if (isAddressUnavailable(err)) return;
      throw err;
    }
    server.on('error', (err) => {
      this.#modules.logger.warn({ reason: messageOf(err) }, 'a lane could not be accepted');
    });
    this.#servers.push(server);
  }

  #greet(socket: Socket): void {
    const isRoom = this.#sockets.size + this.#greetings.size < LANE_SOCKETS_MAX;
    if (isRoom && this.#greetings.begin(socket)) {
      this.#tls.emit('connection', socket);
      return;
    }
    this.#modules.metrics.lanes.inc({ outcome: 'refused' });
    socket.destroy();
  }

  #accept(socket: TLSSocket): void {
    socket.on('error', (err) => {
      this.#modules.logger.debug({ reason: messageOf(err) }, 'lane of a peer ended');
    });
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.setTimeout(LANE_IDLE_MS * 2, () => socket.destroy());
    try {
      this.#serve(socket);
    } catch (err) {
      this.#modules.metrics.lanes.inc({ outcome: 'refused' });
      this.#modules.logger.debug({ reason: messageOf(err) }, 'lane refused');
      socket.destroy();
    }
  }

  #serve(socket: TLSSocket): void {
    if (socket.isSessionReused()) throw new Error('no certificate shown');
    if (socket.alpnProtocol !== LANE_ALPN) throw new Error('no lane protocol');
    const peerId = shownPeerId(socket, this.#modules.now());
    const member = this.#modules.admitted(peerId);
    if (member === undefined) throw new Error('no admitted libp2p connection of this peer');
    const open = this.#sessions.get(peerId) ?? new Set<LaneSession>();
    // Of a peer that was cut off or began anew, the oldest is the one that is dead.
    const [oldest] = open.size < LANE_SOCKETS_PER_PEER_MAX ? [] : open;
    oldest?.close();
    if (oldest) open.delete(oldest);
    const { admitted } = this.#modules;
    const stillMember = (): boolean => admitted(peerId) !== undefined;
    const session = new LaneSession(socket, { ...this.#modules, member, stillMember });
    this.#sessions.set(peerId, open);
    open.add(session);
    this.#modules.metrics.lanes.inc({ outcome: 'accepted' });
    socket.on('close', () => {
      open.delete(session);
      if (open.size === 0) this.#sessions.delete(peerId);
    });
  }
}

// Neither tickets nor session ids: who resumes would not show its certificate.
function contextOf(modules: Pick<LaneServerModules, 'certificate'>) {
  const { certPem, keyPem } = modules.certificate();
  return {
    cert: certPem,
    key: keyPem,
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  } as const;
}
