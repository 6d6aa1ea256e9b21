import type { Logger } from '../../../proto/ops/logger.ts';
import { messageOf } from '../../../proto/std/errors.ts';
import type { Membership } from '../../../proto/trust/membership.ts';
import type { MemberDirectory } from '../../fleet/member-book.ts';
import type { SwarmMetrics } from '../metrics.ts';
import {
  LANE_DIAL_PAUSE_MS,
  LANE_FAILURES_MAX,
  LANE_IDLE_MS,
  LANE_PIPELINE_MAX,
  LANE_RETRY_MAX_MS,
  LANE_RETRY_MIN_MS,
  LANE_SOCKETS_OPENED,
} from './constants.ts';
import { dialLane, type LaneDialModules } from './lane-dial.ts';
import type { LaneSocket } from './lane-socket.ts';

type Lanes = {
  sockets: LaneSocket[];
  dialling: boolean;
  /** No other one is dialled before. */
  dialAtMs: number;
  lastUsedMs: number;
};

export type LaneBookModules = LaneDialModules & {
  members: Pick<MemberDirectory, 'get'>;
  metrics: SwarmMetrics;
  /** For what is waited; `now` tells of certificates. */
  steadyNow: () => number;
  logger: Logger;
};

/** The lanes to other agents: dialled beside the first requests, which never wait for them. */
export class LaneBook {
  readonly #modules: LaneBookModules;
  readonly #lanes = new Map<string, Lanes>();
  /** When a lane to the peer may be tried again; the oldest entry first. */
  readonly #failures = new Map<string, { count: number; retryAtMs: number }>();
  readonly #stopped = new AbortController();

  constructor(modules: LaneBookModules) {
    this.#modules = modules;
  }

  /** Sockets to other agents. */
  get size(): number {
    let size = 0;
    for (const { sockets } of this.#lanes.values()) size += sockets.length;
    return size;
  }

  /**
   * A lane with room for a chunk, if there is one. Opens another one in the background only where
   * there is none: two to one peer cost the sender more CPU for each byte than one.
   */
  pick(member: Membership): LaneSocket | undefined {
    const lanes = this.#of(member);
    const { sockets } = lanes;
    lanes.lastUsedMs = this.#modules.steadyNow();
    const found = sockets.find(({ load }) => load < LANE_PIPELINE_MAX);
    const isFull = found === undefined && sockets.length < LANE_SOCKETS_OPENED;
    if (isFull && this.#mayDial(lanes, member)) void this.#dial(lanes, member);
    return found;
  }

  /**
   * A lane for a question, on which the answer would not wait behind chunks, or not for long. Opens
   * one in the background where there is none: who is asked what it holds is asked for it next, and
   * a chunk over a stream costs several times as much.
   */
  forQuestion(member: Membership): LaneSocket | undefined {
    const lanes = this.#of(member);
    const { sockets } = lanes;
    if (sockets.length === 0 && this.#mayDial(lanes, member)) void this.#dial(lanes, member);
    const found =
      sockets.findLast(({ isFree }) => isFree) ?? sockets.findLast(({ isQuick }) => isQuick);
    if (found !== undefined) lanes.lastUsedMs = this.#modules.steadyNow();
    return found;
  }

  /**
   * A lane to the peer fell silent: the others are taken to be as dead, and none is dialled for a
   * while. Of one lane that counts once, however many waited on it.
   */
  silent(peerId: string, lane: LaneSocket): void {
    if (this.#lanes.get(peerId)?.sockets.includes(lane) !== true) return;
    this.#failed(peerId);
    this.cut(peerId);
  }

  /** Closes the lanes to one peer. */
  cut(peerId: string): void {
    for (const socket of this.#lanes.get(peerId)?.sockets ?? []) socket.close();
    this.#lanes.delete(peerId);
  }

  /** Closes lanes nobody used for LANE_IDLE_MS. */
  closeIdle(): void {
    const nowMs = this.#modules.steadyNow();
    for (const [peerId, lanes] of this.#lanes) {
      const busy = lanes.dialling || lanes.sockets.some((socket) => socket.load > 0);
      if (!busy && nowMs - lanes.lastUsedMs >= LANE_IDLE_MS) this.cut(peerId);
    }
  }

  /** Closes lanes to peers that are not members any more. */
  sweep(): void {
    for (const peerId of this.#lanes.keys()) {
      if (this.#modules.members.get(peerId) === undefined) this.cut(peerId);
    }
  }

  close(): void {
    this.#stopped.abort(new Error('the agent is stopping'));
    for (const peerId of this.#lanes.keys()) this.cut(peerId);
  }

  /** No lane to this peer is dialled for a while. */
  #failed(peerId: string): void {
    const count = (this.#failures.get(peerId)?.count ?? 0) + 1;
    const waitMs = Math.min(LANE_RETRY_MAX_MS, LANE_RETRY_MIN_MS * 2 ** (count - 1));
    this.#failures.delete(peerId);
    this.#failures.set(peerId, { count, retryAtMs: this.#modules.steadyNow() + waitMs });
    const [oldest] = this.#failures.keys();
    if (this.#failures.size > LANE_FAILURES_MAX && oldest !== undefined) {
      this.#failures.delete(oldest);
    }
  }

  /** The lanes to a peer that are open. */
  #of({ peerId }: Membership): Lanes {
    const nowMs = this.#modules.steadyNow();
    const lanes = this.#lanes.get(peerId) ?? {
      sockets: [],
      dialling: false,
      dialAtMs: nowMs,
      lastUsedMs: nowMs,
    };
    this.#lanes.set(peerId, lanes);
    const failed = lanes.sockets.filter((socket) => socket.failed);
    lanes.sockets = lanes.sockets.filter((socket) => !socket.closed);
    if (lanes.sockets.some((socket) => socket.served)) this.#failures.delete(peerId);
    // The next one would break at the same request.
    else if (failed.length > 0) this.#failed(peerId);
    return lanes;
  }

  #mayDial(lanes: Lanes, member: Membership): boolean {
    if (lanes.dialling || member.lanePort === 0 || this.#stopped.signal.aborted) return false;
    const retryAtMs = this.#failures.get(member.peerId)?.retryAtMs ?? 0;
    return this.#modules.steadyNow() >= Math.max(lanes.dialAtMs, retryAtMs);
  }

  async #dial(lanes: Lanes, member: Membership): Promise<void> {
    const { peerId, node } = member;
    const { metrics, logger, steadyNow } = this.#modules;
    lanes.dialling = true;
    lanes.dialAtMs = steadyNow() + LANE_DIAL_PAUSE_MS;
    try {
      const socket = await dialLane(member, this.#modules, this.#stopped.signal);
      // Cut, banned or closed meanwhile.
      if (this.#lanes.get(peerId) !== lanes || this.#stopped.signal.aborted) socket.close();
      else lanes.sockets.push(socket);
      metrics.lanes.inc({ outcome: 'opened' });
    } catch (err) {
      if (this.#stopped.signal.aborted) return;
      metrics.lanes.inc({ outcome: 'failed' });
      lanes.dialAtMs = steadyNow() + LANE_RETRY_MIN_MS;
      // A second lane that does not come up is no reason to give up the first.
      if (lanes.sockets.every((socket) => socket.closed)) this.#failed(peerId);
      logger.info({ node, peerId, reason: messageOf(err) }, 'no lane; streams are used');
    } finally {
      lanes.dialling = false;
    }
  }
}
