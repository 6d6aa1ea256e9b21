import type { PrivateKey } from '@libp2p/interface';
import { messageOf } from '../../../proto/std/errors.ts';
import { formatListen, parseListen } from '../../../proto/ops/listen.ts';
import type { Membership } from '../../../proto/trust/membership.ts';
import type { ChunkBuffers } from '../chunk-buffers.ts';
import { createLaneCertificate, type LaneCertificate } from './certificate.ts';
import { LANE_CERTIFICATE_LIFE_MS } from './constants.ts';
import { LaneBook } from './lane-book.ts';
import { LaneServer, type LaneServerModules } from './lane-server.ts';
import type { LaneSocket } from './lane-socket.ts';

export type LaneOptions = {
  privateKey: PrivateKey;
  /** Addresses of the libp2p listener; the lane uses their hosts. */
  listen: readonly string[];
  /** 0: any free port. undefined: no lanes to this node, only from it. */
  lanePort: number | undefined;
  stallMs: number;
  now: () => number;
  steadyNow: () => number;
};

export type LaneModules = Omit<LaneServerModules, 'certificate' | 'now'> & {
  buffers: ChunkBuffers;
  /** See LaneDialModules. */
  answers: (peerId: string) => Promise<boolean>;
};

/** All lanes of this node, in both directions, under one certificate. */
export class Lanes {
  readonly #options: LaneOptions;
  readonly #book: LaneBook;
  readonly #server: LaneServer | undefined;
  readonly #buffers: ChunkBuffers;
  readonly #certificate: { current: LaneCertificate };

  private constructor(
    options: LaneOptions,
    parts: {
      book: LaneBook;
      server: LaneServer | undefined;
      buffers: ChunkBuffers;
      certificate: { current: LaneCertificate };
    },
  ) {
    const { book, server, buffers, certificate } = parts;
    this.#options = options;
    this.#buffers = buffers;
    this.#book = book;
    this.#server = server;
    this.#certificate = certificate;
  }

  /** Starts the listener. A port that is taken costs the lane to this node, not the swarm. */
  static async start(options: LaneOptions, modules: LaneModules): Promise<Lanes> {
    const { privateKey, now, steadyNow, stallMs } = options;
    const held = { current: await createLaneCertificate(privateKey, now()) };
    const parts = { ...modules, now, certificate: () => held.current };
    const onViolation = (peerId: string, err: Error): void => {
      modules.ban(peerId, 'protocol-violation', { reason: messageOf(err) });
    };
    const book = new LaneBook({ ...parts, steadyNow, stallMs, onViolation });
    const server = await listen(options, parts);
    return new Lanes(options, { book, server, buffers: modules.buffers, certificate: held });
  }

  /** Port for the membership; 0 without a listener. */
  get port(): number {
    return this.#server?.port ?? 0;
  }

  get counts(): { lanesIn: number; lanesOut: number } {
    return { lanesIn: this.#server?.size ?? 0, lanesOut: this.#book.size };
  }

  /** See LaneBook.pick. */
  pick(member: Membership): LaneSocket | undefined {
    return this.#book.pick(member);
  }

  /** See LaneBook.forQuestion. */
  forQuestion(member: Membership): LaneSocket | undefined {
    return this.#book.forQuestion(member);
  }

  /** See LaneBook.silent. */
  silent(peerId: string, lane: LaneSocket): void {
    this.#book.silent(peerId, lane);
  }

  /** Cuts the lanes to and from one peer. */
  cut(peerId: string): void {
    this.#book.cut(peerId);
    this.#server?.cut(peerId);
  }

  /** Cuts the lanes of a peer that has no libp2p connection to this node any more. */
  left(peerId: string): void {
    this.#server?.cut(peerId);
  }

  /** Cuts the lanes to and from peers that are not members any more. */
  sweep(): void {
    this.#book.sweep();
    this.#server?.sweep();
  }

  /** Cuts what is not wanted any more; makes a new certificate when half of its life is over. */
  async tend(): Promise<void> {
    this.#book.closeIdle();
    this.#buffers.rest();
    this.sweep();
    const { now, privateKey } = this.#options;
    if (this.#certificate.current.notAfterMs - now() > LANE_CERTIFICATE_LIFE_MS / 2) return;
    this.#certificate.current = await createLaneCertificate(privateKey, now());
    this.#server?.renew();
  }

  close(): void {
    this.#book.close();
    this.#server?.close();
  }
}

async function listen(
  options: LaneOptions,
  modules: LaneServerModules,
): Promise<LaneServer | undefined> {
  const { lanePort } = options;
  if (lanePort === undefined) return undefined;
  const hosts = options.listen.map((text) => parseListen(text).host);
  try {
    return await LaneServer.listen(hosts, lanePort, modules);
  } catch (err) {
    const at = hosts.map((host) => formatListen({ host, port: lanePort }));
    const remedy = 'choose a free port in swarm.lanePort; chunks leave this node over libp2p alone';
    modules.logger.warn({ reason: messageOf(err), listen: at, remedy }, 'no lane to this node');
    return undefined;
  }
}
