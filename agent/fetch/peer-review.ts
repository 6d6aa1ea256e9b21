import {
  NEAR_LINKS_MAX,
  REVIEW_GRACE_MS,
  REVIEW_MS,
  REVIEW_PARTINGS_MAX,
  REVIEW_SPREAD_MS,
} from './constants.ts';
import { hasFarSurplus } from './link-choice.ts';
import type { PeerState } from './planner-peers.ts';

/** Peers that bring less than this part of the average are poor. */
const POOR_PART = 0.5;

/**
 * Now and then the peer that brought least makes room for another. A peer is slow because many
 * others ask it, so this evens out who asks whom.
 */
export class PeerReview {
  readonly #random: () => number;
  #nextMs: number;
  #lastMs: number;

  constructor(options: { startMs: number; random: () => number }) {
    this.#random = options.random;
    this.#lastMs = options.startMs;
    this.#nextMs = this.#after(options.startMs);
  }

  /** The peers to let go now, if any. Only when all places are taken. */
  worst(peers: readonly PeerState[], nowMs: number): PeerState[] {
    if (nowMs < this.#nextMs) return [];
    this.#nextMs = this.#after(nowMs);
    const judged: { peer: PeerState; rate: number }[] = [];
    let sum = 0;
    for (const peer of peers) {
      const sinceMs = Math.max(this.#lastMs, peer.upMs);
      const rate = (peer.pace.landed - peer.landedBefore) / Math.max(1, nowMs - sinceMs);
      peer.landedBefore = peer.pace.landed;
      if (peer.leaving || nowMs - peer.upMs < REVIEW_GRACE_MS) continue;
      // Others are asked for what our zone lacks only, so they are not measured against it.
      if (!peer.near && rate > 0) continue;
      judged.push({ peer, rate });
      sum += rate;
    }
    this.#lastMs = nowMs;
    if (peers.filter(({ near }) => near).length < NEAR_LINKS_MAX) return [];
    judged.sort((a, b) => a.rate - b.rate);
    const poor = (sum / judged.length) * POOR_PART;
    const count = judged.findIndex(({ rate }) => rate >= poor);
    return judged.slice(0, Math.min(REVIEW_PARTINGS_MAX, Math.max(1, count))).map((j) => j.peer);
  }

  /** A peer of another zone that takes the place of one of our own, if any. */
  surplus(peers: readonly PeerState[]): PeerState | undefined {
    const linked = { near: 0, far: 0 };
    let least: PeerState | undefined;
    for (const peer of peers) {
      if (peer.leaving) continue;
      linked[peer.near ? 'near' : 'far'] += 1;
      if (!peer.near && peer.flights <= (least?.flights ?? peer.flights)) least = peer;
    }
    return hasFarSurplus(linked) ? least : undefined;
  }

  #after(nowMs: number): number {
    return nowMs + REVIEW_MS + this.#random() * REVIEW_SPREAD_MS;
  }
}
