import { ChunkTable } from './chunk-table.ts';
import {
  DOWNLOAD_INFLIGHT_MAX,
  GIVE_UP_MAX_MS,
  GIVE_UP_STALLS,
  HUB_INFLIGHT_MAX,
  PEER_INFLIGHT_MAX,
  REPLACE_MIN_MS,
  STALL_MAX_MS,
  STALL_MIN_MS,
  UNLEASED_INFLIGHT_MAX,
} from './constants.ts';
import { Flights, HUB } from './flights.ts';
import type { Flight } from './flights.ts';
import { HubDesk } from './hub-desk.ts';
import { PlannerPeers } from './planner-peers.ts';
import type { PeerState } from './planner-peers.ts';
import type {
  ChunkFailure,
  Planner,
  PlannerCommand,
  PlannerEvent,
  PlannerOptions,
  ReaderState,
} from './planner-port.ts';
import { hasStood, urgentChunks } from './urgency.ts';

const SMOOTHING = 0.2;
const STALL_FACTOR = 4;
const PATIENCE_DOUBLINGS_MAX = 5;

/**
 * Rarest first with random ties, a random first chunk, an urgent window for readers that stand;
 * from the hub only leased chunks, unless there is nobody else or nothing moves. A single complete
 * source is read in order, since then no order helps anybody else.
 */
export class SwarmPlanner implements Planner {
  readonly #table: ChunkTable;
  readonly #flights = new Flights();
  readonly #peers: PlannerPeers;
  readonly #hub: HubDesk;
  readonly #random: () => number;
  readonly #peerInflightMax: number;
  readonly #inflightMax: number;
  #readers: readonly ReaderState[] = [];
  #usualMs = STALL_MIN_MS / STALL_FACTOR;
  #out: PlannerCommand[] = [];

  constructor(options: PlannerOptions) {
    this.#random = options.random;
    this.#table = new ChunkTable(options.chunkCount, options.have, options.held);
    this.#peers = new PlannerPeers(this.#table, options.random);
    this.#peerInflightMax = options.peerInflightMax ?? PEER_INFLIGHT_MAX;
    this.#inflightMax = options.inflightMax ?? DOWNLOAD_INFLIGHT_MAX;
    this.#hub = new HubDesk({
      enabled: options.hub,
      inflightMax: options.hubInflightMax ?? HUB_INFLIGHT_MAX,
      startMs: options.startMs,
      random: options.random,
    });
  }

  get missing(): number {
    return this.#table.missing;
  }

  handle(event: PlannerEvent, nowMs: number): PlannerCommand[] {
    this.#out = [];
    this.#apply(event, nowMs);
    if (this.#table.missing > 0) this.#schedule(nowMs);
    return this.#out;
  }

  #apply(event: PlannerEvent, nowMs: number): void {
    switch (event.type) {
      case 'peerUp':
        return this.#peers.up(event.peerId);
      case 'peerDown':
        return this.#peerDown(event.peerId);
      case 'availability':
        return this.#peers.availability(event.peerId, event.have);
      case 'started': {
        const flight = this.#flights.get(event.ticket);
        if (flight !== undefined) flight.startedMs = nowMs;
        return undefined;
      }
      case 'chunkDone':
        return this.#chunkDone(event.index, event.ticket, nowMs);
      case 'chunkFailed':
        return this.#chunkFailed(event.ticket, event.reason, nowMs);
      case 'released':
        this.#table.release(event.index);
        return this.#peers.wake();
      case 'hubLease':
        return this.#hub.leased(
          event.indices.filter((index) => this.#table.isWanted(index)),
          event.peersKnown,
        );
      case 'hubDown':
        return this.#hub.trackerDown();
      case 'readers':
        this.#readers = event.readers;
        return undefined;
      case 'tick':
        return this.#tick(nowMs);
    }
  }

  #peerDown(peerId: string): void {
    for (const flight of this.#flights.all()) {
      if (flight.source === peerId) this.#cancel(flight);
    }
    this.#peers.down(peerId);
  }

  #chunkDone(index: number, ticket: number | undefined, nowMs: number): void {
    const flight = ticket === undefined ? undefined : this.#flights.get(ticket);
    if (flight !== undefined) {
      this.#land(flight);
      if (flight.startedMs !== undefined) {
        const took = nowMs - flight.startedMs;
        this.#usualMs += (took - this.#usualMs) * SMOOTHING;
      }
      if (flight.source === HUB) this.#hub.succeeded();
      else {
        const peer = this.#peers.get(flight.source);
        if (peer !== undefined) peer.failures = 0;
      }
    }
    const isNews = this.#table.markHave(index);
    if (isNews && flight?.source !== HUB) this.#hub.progress(nowMs);
    this.#hub.leases.delete(index);
    for (const other of this.#flights.of(index)) {
      if (other.overdue) this.#blame(other, nowMs);
      this.#cancel(other);
    }
  }

  #chunkFailed(ticket: number, reason: ChunkFailure, nowMs: number): void {
    const flight = this.#flights.get(ticket);
    if (flight === undefined) return;
    this.#land(flight);
    this.#keepLease(flight);
    this.#peers.wake();
    if (flight.source === HUB) return this.#hub.failed(nowMs);
    const peer = this.#peers.get(flight.source);
    if (peer === undefined) return undefined;
    if (reason === 'mismatch') return this.#peerDown(flight.source);
    if (reason === 'not-found') peer.lacks.add(flight.index);
    else if (reason === 'busy') this.#peers.busy(peer, nowMs);
    else this.#peers.failed(peer, nowMs);
    return undefined;
  }

  #tick(nowMs: number): void {
    const stallMs = Math.min(STALL_MAX_MS, Math.max(STALL_MIN_MS, this.#usualMs * STALL_FACTOR));
    for (const flight of this.#flights.all()) {
      if (flight.startedMs === undefined) continue;
      const age = nowMs - flight.startedMs;
      if (age >= this.#giveUpMs(flight, stallMs) || this.#isReplaceable(flight, age, nowMs)) {
        this.#blame(flight, nowMs);
        this.#cancel(flight);
        this.#keepLease(flight);
      } else if (age >= stallMs && !flight.overdue) this.#markOverdue(flight);
    }
    this.#peers.wake();
  }

  /** A slow line must not be cut for ever at the same point: each failure buys more time. */
  #giveUpMs(flight: Flight, stallMs: number): number {
    const failures =
      flight.source === HUB ? this.#hub.failures : this.#peers.get(flight.source)?.failures;
    const patience = 2 ** Math.min(failures ?? 0, PATIENCE_DOUBLINGS_MAX);
    return Math.min(GIVE_UP_MAX_MS, stallMs * GIVE_UP_STALLS * patience);
  }

  /** Everyone who was asked has stalled, and somebody in working order could be asked instead. */
  #isReplaceable(flight: Flight, age: number, nowMs: number): boolean {
    if (!flight.overdue || age < REPLACE_MIN_MS) return false;
    const flights = this.#flights.of(flight.index);
    return (
      flights.length > 1 &&
      flights.every((other) => other.overdue) &&
      this.#peers.isAvailable(flight.index, nowMs)
    );
  }

  #markOverdue(flight: Flight): void {
    flight.overdue = true;
    if (flight.source === HUB) return;
    const peer = this.#peers.get(flight.source);
    if (peer !== undefined) peer.overdue += 1;
  }

  #blame(flight: Flight, nowMs: number): void {
    if (flight.source === HUB) return this.#hub.failed(nowMs);
    const peer = this.#peers.get(flight.source);
    if (peer !== undefined) this.#peers.failed(peer, nowMs);
    return undefined;
  }

  #cancel(flight: Flight): void {
    this.#land(flight);
    this.#out.push({ type: 'cancel', ticket: flight.ticket });
    this.#peers.wake();
  }

  /** The tracker counts on us for a leased chunk, so a failed request is not the end of it. */
  #keepLease(flight: Flight): void {
    if (flight.leased && this.#table.isWanted(flight.index)) this.#hub.leases.add(flight.index);
  }

  /** Takes the flight off all books. */
  #land(flight: Flight): void {
    this.#flights.remove(flight.ticket);
    if (flight.source === HUB) {
      this.#hub.inflight -= 1;
      if (!flight.leased) this.#hub.unleasedInflight -= 1;
      return;
    }
    const peer = this.#peers.get(flight.source);
    if (peer === undefined) return;
    peer.flights -= 1;
    if (flight.overdue) peer.overdue -= 1;
  }

  #schedule(nowMs: number): void {
    this.#hub.noteCompany(this.#peers.size, nowMs);
    if (this.#hub.isAlone(nowMs)) this.#hub.leases.clear();
    const urgent = urgentChunks(this.#table, this.#readers, nowMs);
    this.#fromHubLeased(nowMs);
    if (this.#hub.isStarved(nowMs, this.#usualMs)) this.#fromHubUnleased(nowMs);
    this.#fromPeers(urgent, nowMs);
    this.#fromHubUnleased(nowMs);
    const wanted = this.#hub.wanted(
      this.#table.some((index) => this.#isUnheard(index)),
      nowMs,
    );
    if (wanted !== undefined) this.#out.push({ type: 'askHubLease', wanted });
  }

  /** Nobody we are linked to holds it, nobody was asked, and it is not leased to us. */
  #isUnheard(index: number): boolean {
    return (
      this.#table.rarity(index) === 0 &&
      this.#flights.of(index).length === 0 &&
      !this.#hub.leases.has(index)
    );
  }

  #fromHubLeased(nowMs: number): void {
    for (const index of this.#hub.leases) {
      if (!this.#isRoom() || !this.#hub.isOpen(nowMs)) return;
      if (!this.#table.isWanted(index) || this.#peers.isAvailable(index, nowMs)) {
        this.#hub.leases.delete(index);
      } else if (this.#flights.admits(index, HUB)) {
        this.#hub.leases.delete(index);
        this.#askHub(index, true);
      }
    }
  }

  #fromPeers(urgent: readonly number[], nowMs: number): void {
    const peers = this.#peers.shuffled();
    let moved = true;
    while (moved) {
      moved = false;
      for (const peer of peers) {
        if (!this.#isRoom()) return;
        if (peer.idle || peer.flights >= this.#peerInflightMax) continue;
        if (!this.#peers.isUsable(peer, nowMs)) continue;
        const index = this.#pickFor(peer, urgent);
        if (index < 0) peer.idle = true;
        else {
          this.#askPeer(peer, index);
          moved = true;
        }
      }
    }
  }

  #pickFor(peer: PeerState, urgent: readonly number[]): number {
    const eligible = (index: number): boolean =>
      this.#peers.holds(peer, index) && this.#flights.admits(index, peer.id);
    const first = urgent.find((index) => this.#table.isWanted(index) && eligible(index));
    if (first !== undefined) return first;
    if (this.#peers.soleComplete && this.#hub.peersKnown <= 1) {
      return this.#table.pickInOrder(eligible, this.#lowestCursor());
    }
    const isFirst = this.#table.haveCount === 0 && this.#flights.size === 0;
    return this.#table.pickRarest(eligible, this.#random, isFirst);
  }

  #fromHubUnleased(nowMs: number): void {
    const { max, inOrder } = this.#hub.unleased(nowMs, this.#usualMs);
    const starved = this.#hub.isStarved(nowMs, this.#usualMs);
    const eligible = (index: number): boolean =>
      this.#flights.admits(index, HUB) && !this.#peers.isAvailable(index, nowMs, starved);
    for (const reader of this.#readers) {
      if (!this.#isRoom() || !this.#hub.isOpen(nowMs)) return;
      if (this.#hub.unleasedInflight >= UNLEASED_INFLIGHT_MAX) break;
      if (!hasStood(reader, nowMs) || !this.#table.isWanted(reader.chunk)) continue;
      if (eligible(reader.chunk)) this.#askHub(reader.chunk, false);
    }
    while (this.#hub.unleasedInflight < max && this.#isRoom() && this.#hub.isOpen(nowMs)) {
      const index = inOrder
        ? this.#table.pickInOrder(eligible, this.#lowestCursor())
        : this.#table.pickRarest(eligible, this.#random, true);
      if (index < 0) break;
      this.#askHub(index, false);
    }
  }

  #lowestCursor(): number {
    let lowest = this.#table.count;
    for (const reader of this.#readers) lowest = Math.min(lowest, reader.chunk);
    return lowest === this.#table.count ? 0 : lowest;
  }

  #isRoom(): boolean {
    return this.#flights.size < this.#inflightMax;
  }

  #askHub(index: number, leased: boolean): void {
    const { ticket } = this.#flights.add(index, HUB, leased);
    this.#hub.inflight += 1;
    if (!leased) this.#hub.unleasedInflight += 1;
    this.#out.push({ type: 'fetchFromHub', ticket, index, leased });
  }

  #askPeer(peer: PeerState, index: number): void {
    const { ticket } = this.#flights.add(index, peer.id, false);
    peer.flights += 1;
    this.#out.push({ type: 'fetchFromPeer', ticket, peerId: peer.id, index });
  }
}
