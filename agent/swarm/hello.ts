import type { Connection, Stream } from '@libp2p/interface';
import type { Logger } from '../../proto/ops/logger.ts';
import { deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import {
  HELLO_MAX_BYTES,
  HELLO_PROTOCOL,
  HELLO_TIMEOUT_MS,
  SWARM_VERSION_MAX,
  SWARM_VERSION_MIN,
} from '../../proto/swarm/constants.ts';
import { encodeFrame } from '../../proto/swarm/frame-codec.ts';
import { commonVersion, decodeHello, encodeHello } from '../../proto/swarm/hello.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import type { MemberDirectory } from '../fleet/member-book.ts';
import type { Admission } from './admission.ts';
import { errorOf, PeerError } from './errors.ts';
import { readOneFrame } from './frame-stream.ts';
import type { SwarmMetrics } from './metrics.ts';
import { StreamWriter } from './stream-writer.ts';

/** The only thing a stranger may say: its certificate, against ours. */
export class HelloProtocol {
  readonly #build: string;
  readonly #versionMax: number;
  readonly #modules: {
    admission: Admission;
    members: Pick<MemberDirectory, 'own'>;
    metrics: SwarmMetrics;
    logger: Logger;
  };

  constructor(
    options: { build: string; versionMax?: number },
    modules: {
      admission: Admission;
      members: Pick<MemberDirectory, 'own'>;
      metrics: SwarmMetrics;
      logger: Logger;
    },
  ) {
    this.#build = options.build;
    this.#versionMax = options.versionMax ?? SWARM_VERSION_MAX;
    this.#modules = modules;
  }

  /**
   * Says hello on a connection we opened and admits the peer on its answer. Throws PeerError
   * UNREACHABLE when that fails; the connection is cut then.
   */
  async greet(connection: Connection, options: { signal: AbortSignal }): Promise<Membership> {
    using limit = deadline(HELLO_TIMEOUT_MS, options.signal);
    this.#modules.admission.takeHello(connection);
    try {
      const own = this.#ownHello();
      const stream = await connection.newStream(HELLO_PROTOCOL, { signal: limit.signal });
      const answered = readOneFrame(stream, { maxBytes: HELLO_MAX_BYTES, signal: limit.signal });
      await Promise.all([new StreamWriter(stream).write(own), answered]);
      const membership = this.#accept(connection, await answered);
      await stream.close({ signal: limit.signal });
      this.#modules.metrics.hellos.inc({ direction: 'outbound', outcome: 'admitted' });
      return membership;
    } catch (cause) {
      this.#modules.metrics.hellos.inc({ direction: 'outbound', outcome: 'refused' });
      connection.abort(errorOf(cause));
      const peerId = connection.remotePeer.toString();
      throw new PeerError(
        'The hello with the peer failed.',
        { code: 'UNREACHABLE', peerId },
        { cause },
      );
    }
  }

  /** Answers a hello. A stranger whose hello fails is cut. Never throws. */
  async answer(stream: Stream, connection: Connection): Promise<void> {
    using limit = deadline(HELLO_TIMEOUT_MS);
    try {
      if (!this.#modules.admission.takeHello(connection)) {
        throw new PeerError('A second hello on one connection.', { code: 'PROTOCOL' });
      }
      const own = this.#ownHello();
      const frame = await readOneFrame(stream, { maxBytes: HELLO_MAX_BYTES, signal: limit.signal });
      this.#accept(connection, frame);
      await new StreamWriter(stream).write(own);
      await stream.close({ signal: limit.signal });
      this.#modules.metrics.hellos.inc({ direction: 'inbound', outcome: 'admitted' });
    } catch (err) {
      this.#modules.metrics.hellos.inc({ direction: 'inbound', outcome: 'refused' });
      this.#modules.logger.info(
        {
          peerId: connection.remotePeer.toString(),
          address: connection.remoteAddr.toString(),
          reason: messageOf(err),
        },
        'hello refused, connection cut',
      );
      connection.abort(errorOf(err));
    }
  }

  #ownHello(): Buffer {
    const { own } = this.#modules.members;
    if (!own) {
      throw new PeerError('This node is not enrolled yet.', { code: 'NOT_A_MEMBER' });
    }
    return encodeFrame(
      encodeHello({
        membership: own.bytes,
        versionMin: SWARM_VERSION_MIN,
        versionMax: this.#versionMax,
        build: this.#build,
      }),
    );
  }

  #accept(connection: Connection, frame: Uint8Array): Membership {
    const hello = decodeHello(frame);
    const version = commonVersion(hello);
    if (version === undefined) {
      throw new PeerError(
        `The peer speaks versions ${hello.versionMin} to ${hello.versionMax}, ` +
          `this node ${SWARM_VERSION_MIN} to ${SWARM_VERSION_MAX}.`,
        { code: 'PROTOCOL' },
      );
    }
    return this.#modules.admission.admit(connection, hello.membership, version);
  }
}
