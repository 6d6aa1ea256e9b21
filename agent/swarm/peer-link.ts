import type { Connection } from '@libp2p/interface';
import { STATEMENT_MAX_BYTES } from '../../proto/chunks/statement.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { deadline } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import {
  LANE_HAVE_VERSION_MIN,
  SESSION_VERSION_MIN,
  SMALL_BODY_MAX_BYTES,
  TAG_VERSION_MIN,
} from '../../proto/swarm/constants.ts';
import type { SwarmResponse } from '../../proto/swarm/response.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import { TAG_STATEMENT_MAX_BYTES, type TagName } from '../../proto/trust/tag-statement.ts';
import type { CallOptions, ChunkRequest, PeerAvailability, PeerLink } from '../fetch/ports.ts';
import { bulkStreamsOf, type BulkStreams } from './bulk-streams.ts';
import { HAVE_GRACE_MS, LINK_PROOF_MS, LINK_TIMEOUT_MS, REQUEST_TIMEOUT_MS } from './constants.ts';
import { PeerError, statusError, statusOf } from './errors.ts';
import { ExchangeStream, type Answer, type Ask, type BodyExpectation } from './exchange-stream.ts';
import { LANE_NEWS_TURN_MS } from './lane/constants.ts';
import type { HaveRequest, LaneSocket } from './lane/lane-socket.ts';
import type { SwarmMetrics } from './metrics.ts';

/**
 * `bodyStallMs`: longest silence while a chunk body is awaited. `version`: of the exchange, as
 * agreed in the hello.
 */
export type LinkModules = {
  metrics: SwarmMetrics;
  onViolation: (err: Error) => void;
  bodyStallMs: number;
  steadyNow: () => number;
  version: number;
  /** See LaneBook.forQuestion. */
  questionLane: () => LaneSocket | undefined;
};

/** One admitted peer over one connection: a stream for questions, others for chunk bodies. */
export class Libp2pPeerLink implements PeerLink {
  readonly peerId: string;
  readonly node: string;
  readonly #connection: Connection;
  readonly #control: ExchangeStream;
  readonly #bulk: BulkStreams;
  readonly #modules: LinkModules;
  #lastAskedMs: number;

  private constructor(
    member: Membership,
    connection: Connection,
    control: ExchangeStream,
    modules: LinkModules,
  ) {
    this.peerId = member.peerId;
    this.node = member.node;
    this.#connection = connection;
    this.#control = control;
    this.#bulk = bulkStreamsOf(connection, { onViolation: modules.onViolation });
    this.#modules = modules;
    this.#lastAskedMs = modules.steadyNow();
  }

  /** Opens the control stream on an admitted connection. */
  static async open(
    member: Membership,
    connection: Connection,
    modules: LinkModules,
    options: { signal: AbortSignal },
  ): Promise<Libp2pPeerLink> {
    const control = await ExchangeStream.open(connection, {
      signal: options.signal,
      onViolation: modules.onViolation,
    });
    return new Libp2pPeerLink(member, connection, control, modules);
  }

  get closed(): boolean {
    return this.#control.closed || this.#connection.status !== 'open';
  }

  /** When the last question began. */
  get lastAskedMs(): number {
    return this.#lastAskedMs;
  }

  async openGrant(bundle: GrantBundle, o: CallOptions): Promise<boolean> {
    const { response } = await this.#ask({ kind: 'openGrant', bundle }, o);
    if (response.status === 'noGrant') return false;
    this.#found(response);
    return true;
  }

  /**
   * See PeerLink.have. Asked on a lane where there is room on one, which costs far less; now
   * and then over libp2p all the same, since who asks nothing there is taken to have left.
   */
  async have(
    digest: Digest,
    known: Parameters<PeerLink['have']>[1],
    o: CallOptions,
  ): Promise<PeerAvailability | undefined> {
    const { session } = known;
    if (session !== undefined && this.#modules.version < SESSION_VERSION_MIN) return undefined;
    const isProven = this.#modules.steadyNow() - this.#lastAskedMs < LINK_PROOF_MS;
    const isNew = this.#modules.version >= LANE_HAVE_VERSION_MIN;
    const lane = isNew && isProven ? this.#modules.questionLane() : undefined;
    let { waitMs } = known;
    if (lane !== undefined) {
      const ask = { digest, knownCount: known.count, waitMs, session };
      try {
        return await this.#haveOnLane(lane, ask, o);
      } catch (err) {
        o.signal?.throwIfAborted();
        if (!hasCode(err, 'CLOSED', 'TIMEOUT')) throw err;
        // Part of the time for the answer is over.
        waitMs = 0;
      }
    }
    const { response } = await this.#ask(
      { kind: 'have', digest, knownCount: known.count, waitMs, session },
      { ...o, stallMs: waitMs + HAVE_GRACE_MS },
    );
    if (!this.#found(response)) return undefined;
    if (response.result?.kind !== 'availability') throw this.#violation('no availability');
    return response.result.availability;
  }

  async #haveOnLane(
    lane: LaneSocket,
    ask: HaveRequest,
    o: CallOptions,
  ): Promise<PeerAvailability | undefined> {
    // Behind a chunk it is given up early enough to be asked over libp2p in the time that is left.
    const graceMs = lane.isFree ? HAVE_GRACE_MS : LANE_NEWS_TURN_MS;
    using limit = deadline(ask.waitMs + graceMs, o.signal);
    const sinceMs = performance.now();
    const count = (outcome: string): void => {
      this.#modules.metrics.asked.inc({ kind: 'have', outcome });
    };
    try {
      const answer = await lane.have(ask, limit.signal);
      count('ok');
      return answer;
    } catch (err) {
      count(o.signal?.aborted ? 'aborted' : (statusOf(err) ?? 'failed'));
      if (hasCode(err, 'NOT_FOUND')) return undefined;
      if (limit.signal.aborted && !o.signal?.aborted) lane.unanswered(sinceMs);
      throw err;
    }
  }

  hashes(digest: Digest, maxBytes: number, o: CallOptions): Promise<Buffer | undefined> {
    return this.#bytes({ kind: 'getHashes', digest }, maxBytes, o);
  }

  statement(digest: Digest, o: CallOptions): Promise<Buffer | undefined> {
    return this.#bytes({ kind: 'getStatement', digest }, STATEMENT_MAX_BYTES, o);
  }

  blob(digest: Digest, o: CallOptions): Promise<Buffer | undefined> {
    return this.#bytes({ kind: 'getBlob', digest }, SMALL_BODY_MAX_BYTES, o);
  }

  async grant(
    namespace: string,
    repository: string,
    digest: Digest,
    o: CallOptions,
  ): Promise<GrantBundle | undefined> {
    const { response } = await this.#ask({ kind: 'getGrant', namespace, repository, digest }, o);
    if (!this.#found(response)) return undefined;
    if (response.result?.kind !== 'grant') throw this.#violation('no grant');
    return response.result.bundle;
  }

  async tag(name: TagName, o: CallOptions): Promise<Buffer | undefined> {
    if (this.#modules.version < TAG_VERSION_MIN) return undefined;
    const { namespace, repository, tag } = name;
    return await this.#bytes(
      { kind: 'getTag', namespace, repository, tag },
      TAG_STATEMENT_MAX_BYTES,
      o,
    );
  }

  /** Membership certificates the peer knows, not verified yet. */
  async peers(limit: number, o: CallOptions): Promise<Buffer[]> {
    const { response } = await this.#ask({ kind: 'getPeers', limit }, o);
    if (!this.#found(response)) return [];
    if (response.result?.kind !== 'peers') throw this.#violation('no peers');
    return response.result.memberships.slice(0, limit);
  }

  /** See ChunkTransport.fetchChunk. */
  async chunk(request: ChunkRequest, o: CallOptions): Promise<Buffer> {
    const { length, ...asked } = request;
    const endTimer = this.#modules.metrics.chunkSeconds.startTimer();
    using opening = deadline(LINK_TIMEOUT_MS, o.signal);
    const stream = await this.#bulk.pick(opening.signal);
    const { response, body } = await this.#ask(
      { kind: 'getChunk', ...asked },
      { ...o, stallMs: this.#modules.bodyStallMs },
      { stream, expect: { exact: length } },
    );
    if (!this.#found(response) || !body) {
      throw statusError('notFound', this.peerId);
    }
    endTimer();
    return body;
  }

  close(): void {
    this.#control.close();
    this.#bulk.close();
  }

  async #bytes(ask: Ask, max: number, o: CallOptions): Promise<Buffer | undefined> {
    const { response, body } = await this.#ask(ask, o, { expect: { max } });
    return this.#found(response) ? body : undefined;
  }

  async #ask(
    ask: Ask,
    o: CallOptions & { stallMs?: number },
    how: { stream?: ExchangeStream; expect?: BodyExpectation } = {},
  ): Promise<Answer> {
    const { stream = this.#control, expect } = how;
    this.#lastAskedMs = this.#modules.steadyNow();
    const stallMs = o.stallMs ?? REQUEST_TIMEOUT_MS;
    const count = (outcome: string): void => {
      this.#modules.metrics.asked.inc({ kind: ask.kind, outcome });
    };
    try {
      const answer = await stream.ask(ask, {
        stallMs,
        ...(expect && { expect }),
        ...(o.signal && { signal: o.signal }),
      });
      count(answer.response.status);
      return answer;
    } catch (err) {
      count(o.signal?.aborted ? 'aborted' : 'failed');
      throw err;
    }
  }

  /** False for NOT_FOUND; throws for every other answer that is not OK. */
  #found(response: SwarmResponse): boolean {
    if (response.status === 'ok') return true;
    if (response.status === 'notFound') return false;
    throw statusError(response.status, this.peerId);
  }

  #violation(what: string): PeerError {
    const err = new PeerError(`The peer broke the exchange protocol: ${what} in the answer.`, {
      code: 'PROTOCOL',
      peerId: this.peerId,
    });
    this.#modules.onViolation(err);
    return err;
  }
}
