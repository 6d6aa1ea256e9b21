import { isIP, type TcpNetConnectOpts } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { deadline } from '../../../proto/std/abort.ts';
import type { Membership } from '../../../proto/trust/membership.ts';
import type { ChunkBuffers } from '../chunk-buffers.ts';
import { errorOf, PeerError } from '../errors.ts';
import { bodyPatienceMs } from '../patience.ts';
import { shownPeerId, type LaneCertificate } from './certificate.ts';
import {
  LANE_ALPN,
  LANE_CONNECT_TIMEOUT_MS,
  LANE_DIAL_TIMEOUT_MS,
  LANE_DOUBT_MS,
} from './constants.ts';
import { LaneSocket } from './lane-socket.ts';

export type LaneDialModules = {
  certificate: () => LaneCertificate;
  buffers: ChunkBuffers;
  onViolation: (peerId: string, err: Error) => void;
  now: () => number;
  stallMs: number;
  /** Whether a peer answers over libp2p within LANE_PROBE_MS. Never rejects. */
  answers: (peerId: string) => Promise<boolean>;
  /** Silence after which it is asked there; default LANE_DOUBT_MS. */
  doubtMs?: number;
  /** Longest time for a body of so many bytes; default bodyPatienceMs. */
  bodyMs?: (bytes: number) => number;
};

/**
 * Opens a lane to a member, at the addresses of its membership and nowhere else.
 * @throws PeerError UNREACHABLE, with the error of the last address as its cause; the reason of
 *   the signal
 */
export async function dialLane(
  member: Membership,
  modules: LaneDialModules,
  signal: AbortSignal,
): Promise<LaneSocket> {
  let cause: unknown;
  for (const host of member.addresses) {
    if (isIP(host) === 0) continue;
    using limit = deadline(LANE_DIAL_TIMEOUT_MS, signal);
    try {
      // oxlint-disable-next-line no-await-in-loop -- the next address only when this one fails
      return await dialAddress(member, host, modules, limit.signal);
    } catch (err) {
      signal.throwIfAborted();
      cause = err;
    }
  }
  const at = `${member.addresses.join(', ')} port ${member.lanePort}`;
  throw new PeerError(
    `No lane to ${member.node} at ${at}.`,
    { code: 'UNREACHABLE', peerId: member.peerId },
    { cause },
  );
}

function dialAddress(
  member: Membership,
  host: string,
  modules: LaneDialModules,
  signal: AbortSignal,
): Promise<LaneSocket> {
  const { peerId, lanePort } = member;
  const { stallMs, doubtMs = LANE_DOUBT_MS, bodyMs = bodyPatienceMs } = modules;
  const lane = new LaneSocket(
    { peerId, stallMs, doubtMs, bodyMs },
    {
      buffers: modules.buffers,
      onViolation: (err) => modules.onViolation(peerId, err),
      answers: () => modules.answers(peerId),
    },
  );
  const { certPem, keyPem } = modules.certificate();
  const options: ConnectionOptions & Pick<TcpNetConnectOpts, 'onread'> = {
    host,
    port: lanePort,
    cert: certPem,
    key: keyPem,
    ALPNProtocols: [LANE_ALPN],
    minVersion: 'TLSv1.3',
    // The certificate is checked below: it proves a peer id, and no authority signed it.
    rejectUnauthorized: false,
    onread: lane.onread,
  };
  const socket = connect(options);
  const { promise, resolve, reject } = Promise.withResolvers<LaneSocket>();
  const connecting = setTimeout(() => {
    const text = `No connection within ${LANE_CONNECT_TIMEOUT_MS} ms.`;
    fail(new PeerError(text, { code: 'TIMEOUT', peerId }));
  }, LANE_CONNECT_TIMEOUT_MS);
  socket.once('connect', () => clearTimeout(connecting));
  const fail = (err: Error): void => {
    clearTimeout(connecting);
    lane.close(err);
    socket.destroy();
    reject(err);
  };
  const onAbort = (): void => fail(errorOf(signal.reason));
  signal.addEventListener('abort', onAbort, { once: true });
  socket.on('error', fail);
  socket.on('close', () => {
    fail(new PeerError('The peer closed the lane.', { code: 'CLOSED', peerId }));
  });
  socket.on('end', () => socket.destroy());
  socket.once('secureConnect', () => {
    signal.removeEventListener('abort', onAbort);
    try {
      checkPeer(socket, peerId, modules.now());
      socket.setNoDelay(true);
      lane.ready(socket);
      resolve(lane);
    } catch (err) {
      fail(errorOf(err));
    }
  });
  return promise;
}

function checkPeer(socket: TLSSocket, peerId: string, nowMs: number): void {
  if (socket.alpnProtocol !== LANE_ALPN) throw new Error('the other side speaks no lane protocol');
  if (shownPeerId(socket, nowMs) !== peerId) throw new Error('another peer answers there');
}
