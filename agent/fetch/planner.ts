import { lowestBit } from './chunk-bits.ts';
import { ChunkTable } from './chunk-table.ts';
import {
  DOWNLOAD_INFLIGHT_MAX,
  GIVE_UP_MAX_MS,
  GIVE_UP_STALLS,
  HUB_INFLIGHT_MAX,
  PEER_INFLIGHT_MAX,
  REPLACE_MIN_MS,
  REPLACE_STALLS,
} from './constants.ts';
import { Crossings } from './crossings.ts';
import { Flights, HUB } from './flights.ts';
import type { Flight } from './flights.ts';
import { HubAsking, lowestCursor } from './hub-asking.ts';
import { HubDesk } from './hub-desk.ts';
import { InflightWindow } from './inflight-window.ts';
import { PeerAsking } from './peer-asking.ts';
import { PeerReview } from './peer-review.ts';
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
import { SecondTries } from './second-tries.ts';
import { urgentChunks } from './urgency.ts';
import { UsualTimes } from './usual-times.ts';

const PATIENCE_DOUBLINGS_MAX = 5;

/**
 * Rarest first with random ties, a random first chunk, an urgent window for readers that stand;
 * from the hub only leased chunks, unless there is nobody else or nothing moves. A single complete
 * source is read in order, since then no order helps anybody else.
 */
export class SwarmPlanner implements Planner {
  readonly #table: ChunkTable;
  readonly #flights: Flights;
  readonly #peers: PlannerPeers;
  readonly #hub: HubDesk;
  readonly #hubAsking: HubAsking;
  readonly #peerAsking: PeerAsking;
  readonly #crossings: Crossings;
  readonly #peerInflightMax: number;
  readonly #growing: boolean;
  readonly #window: InflightWindow;
  readonly #review: PeerReview;
  readonly #seconds: SecondTries;
  #readers: readonly ReaderState[] = [];
  /** Wanted chunks that come first. */
  #urgent: readonly number[] = [];
  readonly #usual = new UsualTimes();
  #out: PlannerCommand[] = [];

  constructor(options: PlannerOptions) {
    this.#table = new ChunkTable(options.chunkCount, options.have, options.held);
    this.#flights = new Flights(options.chunkCount);
    this.#peers = new PlannerPeers(this.#table, options.random);
    this.#review = new PeerReview(options);
    const { chunkCount } = options;
    this.#seconds = new SecondTries({ chunkCount, startMs: this.#usual.usualMs });
    this.#growing = options.growing ?? false;
    this.#peerInflightMax = options.peerInflightMax ?? PEER_INFLIGHT_MAX;
    this.#window = new InflightWindow({
      chunkCount: options.chunkCount,
      max: options.inflightMax ?? DOWNLOAD_INFLIGHT_MAX,
    });
    this.#hub = new HubDesk({
      enabled: options.hub,
      inflightMax: options.hubInflightMax ?? HUB_INFLIGHT_MAX,
      startMs: options.startMs,
      random: options.random,
    });
    this.#crossings = new Crossings(options, {
      table: this.#table,
      flights: this.#flights,
      peers: this.#peers,
    });
    const shared = {
      table: this.#table,
      flights: this.#flights,
      peers: this.#peers,
      desk: this.#hub,
      isRoom: (nowMs: number) => this.#window.hasRoom(this.#flights, nowMs),
    };
    this.#hubAsking = new HubAsking(options, {
      ...shared,
      ask: (index, leased) => this.#askHub(index, leased),
    });
    this.#peerAsking = new PeerAsking(
      { random: options.random, inflightMax: this.#peerInflightMax },
      {
        ...shared,
        crossings: this.#crossings,
        ask: (peer, index) => this.#askPeer(peer, index),
      },
    );
  }

  get missing(): number {
    return this.#table.missing;
  }

  crossingsWanted(nowMs: number): readonly number[] {
    return this.#crossings.wanted(lowestCursor(this.#readers), nowMs);
  }

  handle(event: PlannerEvent, nowMs: number): PlannerCommand[] {
    this.#out = [];
    this.#apply(event, nowMs);
    // That a request has left changes nothing in what else may be asked for.
    if (this.#table.missing > 0 && event.type !== 'started') this.#schedule(nowMs);
    return this.#out;
  }

  #apply(event: PlannerEvent, nowMs: number): void {
    switch (event.type) {
      case 'peerUp':
        return this.#peers.up(event.peerId, event.near ?? true, nowMs);
      case 'peerDown':
        return this.#peerDown(event.peerId);
      case 'availability':
        return this.#peers.availability(event.peerId, event.have);
      case 'started': {
        const flight = this.#flights.get(event.ticket);
        if (flight === undefined) return undefined;
        flight.startedMs = nowMs;
        flight.stallMs = this.#usual.stallMs(this.#isFar(flight));
        return undefined;
      }
      case 'chunkDone':
        return this.#chunkDone(event.index, event.ticket, nowMs);
      case 'chunkFailed':
        return this.#chunkFailed(event.ticket, event.reason, nowMs);
      case 'released':
        this.#table.release(event.index);
        return this.#peers.wake();
      case 'held':
        return this.#hold(event.index);
      case 'hubLease':
        this.#crossings.answered(event.crossings, nowMs);
        return this.#hub.leased(
          event.indices.filter((index) => this.#isLeasable(index)),
          event,
        );
      case 'hubDown':
        this.#crossings.trackerDown();
        return this.#hub.trackerDown();
      case 'readers':
        this.#readers = event.readers;
        this.#urgent = urgentChunks(this.#table, event.readers, nowMs);
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

  #hold(index: number): void {
    this.#table.hold(index);
    for (const flight of this.#flights.of(index)) {
      this.#cancel(flight);
      this.#keepLease(flight);
    }
  }

  #isLeasable(index: number): boolean {
    return this.#table.isWanted(index) || (this.#growing && this.#table.isHeld(index));
  }

  #chunkDone(index: number, ticket: number | undefined, nowMs: number): void {
    const flight = ticket === undefined ? undefined : this.#flights.get(ticket);
    if (flight !== undefined) {
      this.#land(flight);
      if (flight.startedMs !== undefined) {
        const took = nowMs - flight.startedMs;
        this.#usual.landed(this.#isFar(flight), took);
        this.#seconds.landed(took);
        this.#credit(flight, took, nowMs);
      }
    }
    const isNews = this.#table.markHave(index);
    if (isNews) {
      this.#window.landed(nowMs);
      this.#crossings.progress(nowMs);
    }
    if (isNews && flight?.source !== HUB) this.#hub.progress(nowMs);
    this.#hub.leases.delete(index);
    for (const other of this.#flights.of(index)) {
      if (other.overdue) this.#blame(other, nowMs);
      this.#cancel(other);
    }
  }

  #credit(flight: Flight, tookMs: number, nowMs: number): void {
    if (flight.source === HUB) return this.#hub.succeeded(tookMs);
    const peer = this.#peers.get(flight.source);
    if (peer === undefined) return undefined;
    peer.failures = 0;
    peer.pace.chunk(nowMs, tookMs, this.#peerInflightMax);
    if (!peer.near) this.#crossings.took(tookMs);
    return undefined;
  }

  #chunkFailed(ticket: number, reason: ChunkFailure, nowMs: number): void {
    const flight = this.#flights.get(ticket);
    if (flight === undefined) return;
    this.#land(flight);
    this.#keepLease(flight);
    this.#peers.wake();
    // Of what is still to come nobody can be blamed for not bringing it.
    if (this.#table.isHeld(flight.index)) return undefined;
    if (flight.source === HUB) return this.#hub.failed(nowMs);
    const peer = this.#peers.get(flight.source);
    if (peer === undefined) return undefined;
    if (reason === 'mismatch') return this.#peerDown(flight.source);
    if (reason === 'not-found') this.#peers.lacks(peer, flight.index);
    else if (reason === 'busy') this.#peers.busy(peer, nowMs);
    else this.#peers.failed(peer, nowMs);
    return undefined;
  }

  #tick(nowMs: number): void {
    for (const flight of this.#flights.all()) {
      if (flight.startedMs === undefined) continue;
      const age = nowMs - flight.startedMs;
      if (this.#isFar(flight)) this.#crossings.waits(age);
      if (age >= this.#giveUpMs(flight) || this.#isReplaceable(flight, age, nowMs)) {
        this.#blame(flight, nowMs);
        this.#cancel(flight);
        this.#keepLease(flight);
      } else if (age >= flight.stallMs && !flight.overdue) this.#markOverdue(flight, nowMs);
    }
    const blocked = { readers: this.#readers, urgent: this.#urgent };
    this.#crossings.review(this.#readers, nowMs);
    this.#seconds.hedge(this.#flights, blocked, nowMs);
    if (this.#isAllAsked()) this.#seconds.endgame(this.#flights, nowMs);
    for (const peer of this.#review.worst(this.#peers.list, nowMs)) this.#part(peer);
    const surplus = this.#review.surplus(this.#peers.list);
    if (surplus !== undefined) this.#part(surplus);
    this.#peers.wake();
  }

  /** Asked of a peer of another zone, while there are peers of our own. */
  #isFar({ source }: Flight): boolean {
    if (source === HUB || !this.#peers.hasNear) return false;
    return this.#peers.get(source)?.near === false;
  }

  /** Every chunk that is wanted is on its way. */
  #isAllAsked(): boolean {
    const { wanted } = this.#table;
    const { busy } = this.#flights;
    return wanted.every((word, at) => (word & ~(busy[at] ?? 0)) === 0);
  }

  /** Asks the peer for nothing more, and lets it go when its requests have ended. */
  #part(peer: PeerState): void {
    peer.leaving = true;
    if (peer.flights === 0) this.#out.push({ type: 'letGo', peerId: peer.id });
  }

  /** A slow line must not be cut for ever at the same point: each failure buys more time. */
  #giveUpMs(flight: Flight): number {
    const failures =
      flight.source === HUB ? this.#hub.failures : this.#peers.get(flight.source)?.failures;
    const patience = 2 ** Math.min(failures ?? 0, PATIENCE_DOUBLINGS_MAX);
    return Math.min(GIVE_UP_MAX_MS, flight.stallMs * GIVE_UP_STALLS * patience);
  }

  /** Everyone who was asked has stalled, and somebody in working order could be asked instead. */
  #isReplaceable(flight: Flight, age: number, nowMs: number): boolean {
    const least = this.#isFar(flight) ? flight.stallMs * REPLACE_STALLS : REPLACE_MIN_MS;
    if (!flight.overdue || age < least) return false;
    const flights = this.#flights.of(flight.index);
    return (
      flights.length > 1 &&
      flights.every((other) => other.overdue) &&
      this.#peers.isAvailable(flight.index, nowMs)
    );
  }

  #markOverdue(flight: Flight, nowMs: number): void {
    this.#flights.reopen(flight, 'overdue');
    if (this.#isFar(flight)) this.#usual.farOverdue(flight.stallMs, nowMs);
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
    if (flight.leased && this.#isLeasable(flight.index)) this.#hub.leases.add(flight.index);
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
    if (!peer.near) this.#peers.farInflight -= 1;
    if (flight.overdue) peer.overdue -= 1;
    if (peer.leaving && peer.flights === 0) this.#part(peer);
  }

  #schedule(nowMs: number): void {
    this.#hub.noteCompany(this.#peers.size, nowMs);
    if (this.#hub.isAlone(nowMs)) this.#hub.leases.clear();
    const { usualMs } = this.#usual;
    const view = { nowMs, usualMs, readers: this.#readers, urgent: this.#urgent };
    this.#hubAsking.leased(nowMs);
    if (this.#hub.isStarved(nowMs, usualMs)) this.#hubAsking.unleased(view);
    this.#peerAsking.ask(view);
    this.#hubAsking.unleased(view);
    const unheard = this.#hub.hasLeaseRoom(nowMs) && this.#someUnheard();
    const wishes = this.#hub.wishes(unheard, nowMs, usualMs);
    if (wishes !== undefined) this.#out.push({ type: 'askHubLease', ...wishes });
  }

  /** Whether nobody we are linked to holds some chunk, nobody was asked, and it is not leased. */
  #someUnheard(): boolean {
    const { wanted, heard } = this.#table;
    const { busy } = this.#flights;
    for (let at = 0; at < wanted.length; at += 1) {
      const sought = this.#growing ? this.#table.absent(at) : (wanted[at] ?? 0);
      let bits = sought & ~(heard[at] ?? 0) & ~(busy[at] ?? 0);
      for (; bits !== 0; bits &= bits - 1) {
        if (!this.#hub.leases.has(at * 32 + lowestBit(bits))) return true;
      }
    }
    return false;
  }

  #askHub(index: number, leased: boolean): void {
    const { ticket } = this.#flights.add(index, HUB, leased);
    this.#hub.asked(leased);
    this.#out.push({ type: 'fetchFromHub', ticket, index, leased });
  }

  #askPeer(peer: PeerState, index: number): void {
    const { ticket } = this.#flights.add(index, peer.id, false);
    peer.flights += 1;
    if (!peer.near) this.#peers.farInflight += 1;
    this.#out.push({ type: 'fetchFromPeer', ticket, peerId: peer.id, index });
  }
}
