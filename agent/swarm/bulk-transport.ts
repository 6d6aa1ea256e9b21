import { hasCode } from '../../proto/std/errors.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import type { CallOptions, ChunkBytes, ChunkTransport } from '../fetch/ports.ts';
import { statusOf } from './errors.ts';
import type { Lanes } from './lane/lanes.ts';
import type { SwarmMetrics } from './metrics.ts';

export type BulkModules = {
  lanes: Pick<Lanes, 'pick' | 'silent'>;
  streams: ChunkTransport;
  /** Throws when the peer may not be asked. */
  memberOf: (peerId: string) => Membership;
  metrics: SwarmMetrics;
};

/**
 * Chunks over the lane to a peer when there is one, and over libp2p streams until then and
 * whenever the lane does not work.
 */
export class BulkTransport implements ChunkTransport {
  readonly name = 'lane-or-stream';
  readonly #modules: BulkModules;

  constructor(modules: BulkModules) {
    this.#modules = modules;
  }

  async fetchChunk(
    peerId: string,
    request: Parameters<ChunkTransport['fetchChunk']>[1],
    o: CallOptions,
  ): Promise<ChunkBytes> {
    const { lanes, streams, metrics } = this.#modules;
    const lane = lanes.pick(this.#modules.memberOf(peerId));
    if (lane === undefined) return streams.fetchChunk(peerId, request, o);
    const endTimer = metrics.chunkSeconds.startTimer();
    try {
      const chunk = await lane.fetch(request, o.signal);
      metrics.asked.inc({ kind: 'getChunk', outcome: 'ok' });
      endTimer();
      return chunk;
    } catch (err) {
      const outcome = o.signal?.aborted ? 'aborted' : (statusOf(err) ?? 'failed');
      metrics.asked.inc({ kind: 'getChunk', outcome });
      o.signal?.throwIfAborted();
      if (hasCode(err, 'TIMEOUT')) lanes.silent(peerId, lane);
      if (!hasCode(err, 'CLOSED')) throw err;
      return await streams.fetchChunk(peerId, request, o);
    }
  }
}
