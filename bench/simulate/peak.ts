import { TICK_MS } from '../../agent/fetch/constants.ts';
import type { PlannerCommand, PlannerEvent } from '../../agent/fetch/planner-port.ts';
import { chunkRange, layoutOf } from '../../proto/chunks/layout.ts';
import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { seededRandom } from '../rig/random.ts';
import { Calendar } from './calendar.ts';
import type { Happening } from './calendar.ts';
import { HAPPENS } from './happenings.ts';
import { Network } from './network.ts';
import { boundSeconds } from './scenario.ts';
import type { Scenario } from './scenario.ts';
import { SimHub } from './sim-hub.ts';
import { SimLinks } from './sim-links.ts';
import { SimNode, idOf } from './sim-node.ts';
import { Topology } from './topology.ts';

/** From a pull's first request to the start of the chunks: manifest, statement, hashes, grant. */
const OPEN_ROUND_TRIPS = 4;
/** A peak that is not over after this many times the bound never will be. */
const BOUNDS_MAX = 60;

/** What one run came to. Times in ms. */
export type PeakResult = {
  /** Of each node that lived to the end: from its own arrival to its last chunk. */
  durations: Float64Array;
  arrivals: Float64Array;
  /** From the first arrival to the last chunk of the last node that arrived at the start. */
  lastMs: number;
  hubBytes: number;
  sentBytes: number;
  receivedBytes: number;
  usefulBytes: number;
  acrossBytes: number;
  events: number;
};

/** One load peak with one seed: all agents with their planners, the tracker and the network. */
export class Peak {
  readonly #scenario: Scenario;
  readonly #layout: ChunkLayout;
  readonly #random: () => number;
  readonly #calendar = new Calendar();
  readonly #topology: Topology;
  readonly #network: Network;
  readonly #nodes: SimNode[];
  readonly #links: SimLinks;
  readonly #hub: SimHub;
  readonly #full: ChunkBitmap;
  #nowMs = 0;
  #unfinished: number;
  #events = 0;
  #usefulBytes = 0;
  #crashed = 0;

  constructor(scenario: Scenario, seed: number) {
    this.#scenario = scenario;
    this.#layout = layoutOf(scenario.sizeBytes);
    this.#random = seededRandom(seed);
    const { chunkCount } = this.#layout;
    this.#full = ChunkBitmap.full(chunkCount);
    const crashes = Math.round(scenario.nodes * scenario.churn);
    const count = scenario.nodes + crashes;
    this.#nodes = Array.from(
      { length: count },
      (_, id) => new SimNode(id, id % scenario.zones, chunkCount),
    );
    this.#unfinished = scenario.nodes;
    this.#topology = new Topology(scenario, count, (id) => this.#node(id).zone);
    this.#network = new Network(
      {
        connections: this.#topology.connections,
        capacity: this.#topology.capacity,
        storeMs: scenario.storeMs,
        chunkBytes: (index) => this.#chunkBytes(index),
      },
      this.#calendar,
    );
    const shared = { calendar: this.#calendar, network: this.#network, topology: this.#topology };
    this.#links = new SimLinks(scenario, {
      ...shared,
      nodes: this.#nodes,
      tell: (node, event, nowMs) => this.#tell(node, event, nowMs),
    });
    this.#hub = new SimHub(scenario, {
      calendar: this.#calendar,
      random: this.#random,
      nodes: count,
      calls: {
        answered: (node, { peers, hubChunks, bypassChunks, crossings }) => {
          this.#links.add(node, peers, this.#nowMs);
          node.leasesFlow = hubChunks.length > 0;
          node.leasesWanted = 0;
          node.bypassWanted = 0;
          const event = { indices: hubChunks, peersKnown: peers.length, bypass: bypassChunks };
          this.#tell(node, { type: 'hubLease', ...event, crossings }, this.#nowMs);
        },
        unanswered: (node) => this.#tell(node, { type: 'hubDown' }, this.#nowMs),
        latencyMs: (node) => this.#topology.fromHub(node.id).latencyMs,
      },
    });
    for (const node of this.#nodes) {
      this.#network.open(this.#topology.hubConnection(node.id), this.#topology.fromHub(node.id));
    }
    this.#script(crashes);
  }

  /** Runs to the end. `onProgress` is told the simulated time and the part of all bytes. */
  run(onProgress?: (nowMs: number, part: number) => void): PeakResult {
    const { epochMs, nodes, sizeBytes } = this.#scenario;
    const limitMs = boundSeconds(this.#scenario) * 1000 * BOUNDS_MAX + 60_000;
    const happening: Happening = { type: 0, a: 0, b: 0, c: 0, d: 0 };
    let startMs = 0;
    while (this.#unfinished > 0) {
      const endMs = startMs + epochMs;
      this.#network.beginEpoch(startMs, endMs);
      while (this.#calendar.take(endMs, happening)) {
        this.#nowMs = this.#calendar.nowMs;
        this.#events += 1;
        this.#happen(happening);
      }
      startMs = endMs;
      if (startMs > limitMs) throw new Error(`${this.#unfinished} nodes never finish`);
      onProgress?.(startMs, this.#usefulBytes / (sizeBytes * nodes));
    }
    return this.#result();
  }

  #script(crashes: number): void {
    const { nodes, arrivalsMs, rttAcrossMs, controlMs } = this.#scenario;
    const openMs = OPEN_ROUND_TRIPS * (rttAcrossMs + controlMs);
    for (const node of this.#nodes.slice(0, nodes)) {
      const atMs = this.#random() * arrivalsMs;
      node.arrivedMs = atMs;
      this.#calendar.put(atMs + openMs, HAPPENS.arrive, node.id);
    }
    const spanMs = boundSeconds(this.#scenario) * 1000;
    for (let crash = 0; crash < crashes; crash += 1) {
      const atMs = arrivalsMs + this.#random() * spanMs;
      this.#later(atMs, HAPPENS.crash, Math.floor(this.#random() * nodes));
    }
  }

  /** The calendar reaches 32 s ahead only. */
  readonly #far: { atMs: number; type: number; node: number }[] = [];

  #later(atMs: number, type: number, node: number): void {
    if (this.#far.length === 0) this.#calendar.put(0, HAPPENS.far, 0);
    this.#far.push({ atMs, type, node });
  }

  #bringNear(): void {
    const rest = this.#far.splice(0);
    for (const item of rest) {
      if (item.atMs < this.#nowMs + 20_000) this.#calendar.put(item.atMs, item.type, item.node);
      else this.#far.push(item);
    }
    if (this.#far.length > 0) this.#calendar.put(this.#nowMs + 10_000, HAPPENS.far, 0);
  }

  #happen({ type, a, b, c, d }: Happening): void {
    const now = this.#nowMs;
    switch (type) {
      case HAPPENS.start:
        return this.#network.started(a, b, now);
      case HAPPENS.finish:
        return this.#network.finished(a, b);
      case HAPPENS.deliver:
        return this.#deliver(a, b, c, d);
      case HAPPENS.arrive:
        return this.#arrive(this.#node(a));
      case HAPPENS.tick:
        return this.#tick(this.#node(a));
      case HAPPENS.have:
        return this.#links.have(a, b, now);
      case HAPPENS.linked:
        return this.#links.linked(a, b, now);
      case HAPPENS.lost:
        return this.#links.lost(a, b, now);
      case HAPPENS.announce:
        return this.#hub.announce(this.#node(a), b, now);
      case HAPPENS.tracker:
        return this.#hub.track(this.#node(a), b, now);
      case HAPPENS.answer:
        return this.#hub.answer(this.#node(a), b, now);
      case HAPPENS.unanswered:
        return this.#hub.unanswered(this.#node(a), b, now, this.#random);
      case HAPPENS.crash:
        return this.#crash(this.#node(a));
      case HAPPENS.sweep:
        return this.#hub.sweep(now);
      case HAPPENS.far:
        return this.#bringNear();
      default:
        throw new RangeError(`event ${type}`);
    }
  }

  #arrive(node: SimNode): void {
    const arrivedMs = node.arrivedMs;
    node.begin(this.#nowMs, this.#random);
    if (!Number.isNaN(arrivedMs)) node.arrivedMs = arrivedMs;
    this.#tell(node, { type: 'tick' }, this.#nowMs);
    this.#hub.nudge(node, this.#nowMs);
    this.#calendar.put(this.#nowMs + TICK_MS, HAPPENS.tick, node.id);
  }

  #tick(node: SimNode): void {
    if (node.planner === undefined) return;
    this.#tell(node, { type: 'readers', readers: [node.reader(this.#nowMs)] }, this.#nowMs);
    this.#tell(node, { type: 'tick' }, this.#nowMs);
    this.#calendar.put(this.#nowMs + TICK_MS, HAPPENS.tick, node.id);
  }

  #deliver(connection: number, generation: number, ticket: number, index: number): void {
    if (this.#network.generation(connection) !== generation) return;
    const node = this.#node(this.#topology.ownerOf(connection));
    node.requests.delete(ticket);
    if (node.planner === undefined) return;
    if (node.have.set(index)) {
      this.#usefulBytes += this.#chunkBytes(index);
      node.newsPace.landed(this.#nowMs);
    }
    this.#tell(node, { type: 'chunkDone', index, ticket }, this.#nowMs);
    if (node.have.complete) this.#finish(node);
  }

  #finish(node: SimNode): void {
    node.finishedMs = this.#nowMs;
    node.planner = undefined;
    node.have = this.#full;
    this.#unfinished -= 1;
    this.#links.closeAll(node, this.#nowMs);
    this.#hub.nudge(node, this.#nowMs);
  }

  #crash(node: SimNode): void {
    if (!node.alive) return;
    node.silent = this.#random() < this.#scenario.silentCrashes;
    node.alive = false;
    if (Number.isNaN(node.finishedMs)) this.#unfinished -= 1;
    node.planner = undefined;
    this.#links.closeAll(node, this.#nowMs);
    this.#links.vanished(node, this.#nowMs);
    const next = this.#node(this.#scenario.nodes + this.#crashed);
    this.#crashed += 1;
    this.#unfinished += 1;
    next.arrivedMs = this.#nowMs;
    this.#calendar.put(this.#nowMs, HAPPENS.arrive, next.id);
  }

  #tell(node: SimNode, event: PlannerEvent, nowMs: number): void {
    const commands = node.planner?.handle(event, nowMs);
    if (commands === undefined) return;
    for (const command of commands) this.#obey(node, command, nowMs);
  }

  #obey(node: SimNode, command: PlannerCommand, nowMs: number): void {
    switch (command.type) {
      case 'fetchFromPeer': {
        const place = node.placeOf.get(command.peerId);
        if (place === undefined) throw new Error('asks a peer that is not linked');
        const connection = this.#topology.peerConnection(node.id, place);
        return this.#ask(node, connection, command, nowMs, this.#node(idOf(command.peerId)).alive);
      }
      case 'fetchFromHub': {
        const connection = this.#topology.hubConnection(node.id);
        return this.#ask(node, connection, command, nowMs, true);
      }
      case 'cancel': {
        const connection = node.requests.get(command.ticket);
        node.requests.delete(command.ticket);
        if (connection !== undefined) this.#network.cancel(connection, command.ticket, nowMs);
        return undefined;
      }
      case 'letGo': {
        const place = node.placeOf.get(command.peerId) ?? 0;
        const connection = this.#topology.peerConnection(node.id, place);
        const generation = this.#network.generation(connection);
        this.#calendar.put(nowMs, HAPPENS.lost, connection, generation);
        return undefined;
      }
      case 'askHubLease': {
        const wantsMore = command.wanted > node.leasesWanted;
        node.leasesWanted = command.wanted;
        node.bypassWanted = command.bypass;
        if (wantsMore && node.leasesFlow) this.#hub.nudge(node, nowMs);
        return undefined;
      }
    }
  }

  #ask(
    node: SimNode,
    connection: number,
    request: { ticket: number; index: number },
    nowMs: number,
    alive: boolean,
  ): void {
    node.requests.set(request.ticket, connection);
    this.#tell(node, { type: 'started', ticket: request.ticket }, nowMs);
    if (!alive) return;
    const { controlMs } = this.#scenario;
    this.#network.ask(connection, request.ticket, request.index, nowMs, controlMs);
  }

  #chunkBytes(index: number): number {
    const { start, end } = chunkRange(this.#layout, index);
    return end - start;
  }

  #node(id: number): SimNode {
    const node = this.#nodes[id];
    if (node === undefined) throw new RangeError(`no node ${id}`);
    return node;
  }

  #result(): PeakResult {
    const { nodes: count } = this.#topology;
    const { carried } = this.#network;
    const sum = (from: number, to: number): number =>
      carried.subarray(from, to).reduce((total, bytes) => total + bytes, 0);
    const lived = this.#nodes.filter(({ alive, finishedMs }) => alive && finishedMs > 0);
    const first = this.#nodes.slice(0, this.#scenario.nodes).filter(({ alive }) => alive);
    return {
      durations: Float64Array.from(lived, (node) => node.finishedMs - node.arrivedMs),
      arrivals: Float64Array.from(lived, (node) => node.arrivedMs),
      lastMs: Math.max(...first.map(({ finishedMs }) => finishedMs)),
      hubBytes: carried[this.#topology.hubUp] ?? 0,
      sentBytes: sum(0, count + 1),
      receivedBytes: sum(count + 1, 2 * count + 1),
      acrossBytes: sum(2 * count + 1, carried.length),
      usefulBytes: this.#usefulBytes,
      events: this.#events,
    };
  }
}
