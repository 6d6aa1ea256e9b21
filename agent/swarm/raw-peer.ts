// A libp2p node without our manners, for the tests of what a hostile peer can do.
import { noise } from '@chainsafe/libp2p-noise';
import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { EXCHANGE_PROTOCOL, HELLO_PROTOCOL } from '../../proto/swarm/constants.ts';
import { encodeFrame } from '../../proto/swarm/frame-codec.ts';
import { encodeHello } from '../../proto/swarm/hello.ts';
import { libp2pKeyOf, type NodeIdentity } from '../fleet/identity.ts';
import { readOneFrame } from './frame-stream.ts';
import { dialAddresses, type Endpoint } from './gater.ts';
import type { TestFleet, TestNode } from './test-fleet.ts';

const TIMEOUT_MS = 10_000;

export class RawPeer implements AsyncDisposable {
  readonly connection: Connection;
  readonly #node: Libp2p;

  private constructor(node: Libp2p, connection: Connection) {
    this.#node = node;
    this.connection = connection;
  }

  /** Connects to a node; nothing is said yet. */
  static async connect(to: { membership: Endpoint }, identity: NodeIdentity): Promise<RawPeer> {
    const node = await createLibp2p({
      privateKey: await libp2pKeyOf(identity),
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux({ maxOutboundStreams: 100_000 })],
      connectionMonitor: { enabled: false },
    });
    return new RawPeer(node, await node.dial(dialAddresses(to.membership)));
  }

  /** A member with a certificate and a passed hello, free to misbehave from there. */
  static async member(fleet: TestFleet, to: TestNode): Promise<RawPeer> {
    const identity = await fleet.identity();
    const peer = await RawPeer.connect(to, identity);
    const certificate = fleet.certificate({
      ...to.membership,
      peerId: identity.peerId,
      node: 'hostile',
      serial: 1_000_000 + Math.floor(Math.random() * 1_000_000),
    });
    try {
      await peer.hello(certificate);
      return peer;
    } catch (err) {
      await peer[Symbol.asyncDispose]();
      throw err;
    }
  }

  open(protocol: string): Promise<Stream> {
    return this.connection.newStream(protocol, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  }

  exchange(): Promise<Stream> {
    return this.connection.newStream(EXCHANGE_PROTOCOL, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      maxOutboundStreams: 100_000,
    });
  }

  /** Says hello with this certificate; the answer of the other side. */
  async hello(membership: Buffer): Promise<Uint8Array> {
    const stream = await this.open(HELLO_PROTOCOL);
    const hello = { membership, versionMin: 1, versionMax: 1, build: 'raw' };
    const answer = readOneFrame(stream, {
      maxBytes: 100_000,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    trySend(stream, encodeFrame(encodeHello(hello)));
    return answer;
  }

  /** Resolves when the connection has ended. */
  get ended(): Promise<void> {
    const { connection } = this;
    return new Promise((resolve) => {
      if (connection.status !== 'open') resolve();
      else connection.addEventListener('close', () => resolve());
    });
  }

  /** Bytes straight into the encrypted connection, below the muxer. */
  sendBelowMuxer(bytes: Uint8Array): void {
    const muxer: { send(data: Uint8Array): boolean } = Reflect.get(this.connection, 'muxer');
    muxer.send(bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#node.stop();
  }
}

/** Sends unless the other side has closed the stream already. */
export function trySend(stream: Stream, bytes: Uint8Array): void {
  try {
    stream.send(bytes);
  } catch {
    // That it is closed is what the test will see next.
  }
}

/** All bytes of a stream until it ends or is reset. */
export async function received(stream: Stream): Promise<number> {
  let bytes = 0;
  try {
    for await (const data of stream) bytes += data.byteLength;
  } catch {
    // A reset is an end.
  }
  return bytes;
}
