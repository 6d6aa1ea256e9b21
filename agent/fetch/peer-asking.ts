import { hasBit } from './chunk-bits.ts';
import type { ChunkTable } from './chunk-table.ts';
import { NEAR_PEERS_MIN, PEER_INFLIGHT_MAX } from './constants.ts';
import type { Crossings } from './crossings.ts';
import { HUB } from './flights.ts';
import type { Flights } from './flights.ts';
import { lowestCursor } from './hub-asking.ts';
import type { View } from './hub-asking.ts';
import type { HubDesk } from './hub-desk.ts';
import type { PeerState, PlannerPeers } from './planner-peers.ts';

export type PeerAskingModules = {
  table: ChunkTable;
  flights: Flights;
  peers: PlannerPeers;
  desk: Pick<HubDesk, 'peersKnown'>;
  crossings: Pick<Crossings, 'isGoverned' | 'isOpened' | 'closed' | 'inflightMax'>;
  /** Whether anything more may be asked for, of whomever. */
  isRoom: (nowMs: number) => boolean;
  ask: (peer: PeerState, index: number) => void;
};

/** `urgent`: wanted chunks that come first. */
type PeerView = View & { urgent: readonly number[] };

/** Whom to ask, and for what: `except` is left to others. */
type Round = PeerView & { near: boolean; except: Uint32Array };

/** Which chunks are asked of which peers: rarest first, with the pipelines filled evenly. */
export class PeerAsking {
  readonly #random: () => number;
  readonly #inflightMax: number;
  readonly #modules: PeerAskingModules;

  constructor(options: { random: () => number; inflightMax: number }, modules: PeerAskingModules) {
    this.#random = options.random;
    this.#inflightMax = options.inflightMax;
    this.#modules = modules;
  }

  /**
   * Asks far peers first, but only for what no near one holds, and over a slow line for what the
   * tracker let us fetch; then near ones; far ones for anything when there are hardly any near ones
   * and the line is quick.
   */
  ask(view: PeerView): void {
    const { nowMs } = view;
    const { table, peers, isRoom, crossings } = this.#modules;
    if (!isRoom(nowMs)) return;
    const hasFar = peers.farCount > 0;
    if (hasFar) this.#round({ ...view, near: false, except: crossings.closed(nowMs) });
    this.#round({ ...view, near: true, except: table.nothing });
    if (!hasFar || !peers.hasNear || crossings.isGoverned(nowMs) || !isRoom(nowMs)) return;
    let near = 0;
    for (const peer of peers.list) {
      if (peer.near && !peer.idle && !peer.leaving && peers.isUsable(peer, nowMs)) near += 1;
    }
    if (near < NEAR_PEERS_MIN) this.#round({ ...view, near: false, except: table.nothing });
  }

  /** Fills the pipelines evenly, those of peers that failed of late at the end. */
  #round(round: Round): void {
    const { nowMs, usualMs, near } = round;
    if (!this.#modules.isRoom(nowMs)) return;
    const peers = this.#modules.peers.bySpeed(usualMs, (peer) => {
      return peer.near === near && this.#mayAsk(peer, nowMs);
    });
    if (peers.length === 0) return;
    for (const failed of [false, true]) {
      for (let level = 0; level < PEER_INFLIGHT_MAX; level += 1) {
        if (!this.#level(level, { ...round, peers, failed })) break;
      }
    }
  }

  /** Gives each peer with at most `level` requests one more; false when no peer can take more. */
  #level(level: number, round: Round & { peers: readonly PeerState[]; failed: boolean }): boolean {
    const { table, peers, crossings, isRoom, ask } = this.#modules;
    const { nowMs, except } = round;
    let more = false;
    for (const peer of round.peers) {
      if (peer.failures > 0 !== round.failed || !this.#mayAsk(peer, nowMs)) continue;
      more = true;
      if (peer.flights > level) continue;
      if (!isRoom(nowMs) || (!peer.near && peers.farInflight >= crossings.inflightMax))
        return false;
      const index = this.#pickFor(peer, round);
      if (index >= 0) ask(peer, index);
      else if (except === table.nothing) peer.idle = true;
    }
    return more;
  }

  /** Whether it is in working order, may hold something for us, and has a place for a request. */
  #mayAsk(peer: PeerState, nowMs: number): boolean {
    if (peer.idle || peer.leaving) return false;
    if (peer.flights >= Math.min(peer.pace.depth, this.#inflightMax)) return false;
    return this.#modules.peers.isUsable(peer, nowMs);
  }

  #pickFor(peer: PeerState, { nowMs, except, urgent, readers }: Round): number {
    const { table, flights, peers, desk } = this.#modules;
    for (const index of urgent) {
      if (this.#isEligible(peer, index, nowMs) && !hasBit(except, index)) return index;
    }
    for (const index of flights.reopened) {
      if (this.#isEligible(peer, index, nowMs)) return index;
    }
    const search = { offered: peer.have, busy: flights.busy, except };
    if (peers.soleComplete && desk.peersKnown <= 1) {
      return table.pickInOrder(search, lowestCursor(readers));
    }
    const isFirst = table.haveCount === 0 && flights.size === 0;
    return table.pickRarest(search, this.#random, isFirst);
  }

  /** A chunk on its way over a slow line would not come sooner if it took that way twice. */
  #mayRepeat(peer: PeerState, index: number, nowMs: number): boolean {
    const { flights, peers, crossings } = this.#modules;
    if (peer.near || !crossings.isGoverned(nowMs)) return true;
    if (crossings.isOpened(index)) return true;
    return flights.of(index).every(({ overdue, source }) => {
      return overdue || source === HUB || peers.get(source)?.near !== false;
    });
  }

  #isEligible(peer: PeerState, index: number, nowMs: number): boolean {
    const { table, flights } = this.#modules;
    if (!table.isWanted(index) || !hasBit(peer.have, index)) return false;
    return flights.admits(index, peer.id) && this.#mayRepeat(peer, index, nowMs);
  }
}
