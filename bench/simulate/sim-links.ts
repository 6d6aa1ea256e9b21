import {
  HAVE_COMPLETE_MS,
  HAVE_WAIT_MS,
  LINKS_MAX,
  LINK_REST_MS,
  LINK_TIMEOUT_MS,
} from '../../agent/fetch/constants.ts';
import { chooseLinks } from '../../agent/fetch/link-choice.ts';
import { HAVE_SETTLE_MS } from '../../agent/swarm/constants.ts';
import type { PlannerEvent } from '../../agent/fetch/planner-port.ts';
import type { Calendar } from './calendar.ts';
import { HAPPENS } from './happenings.ts';
import type { Network } from './network.ts';
import type { Scenario } from './scenario.ts';
import { idOf } from './sim-node.ts';
import type { SimNode } from './sim-node.ts';
import type { Topology } from './topology.ts';

/** Dial, encryption, hello and grant. */
const LINK_ROUND_TRIPS = 5;
/** How often a peer without news is looked at; it would answer by itself. */
const NEWS_MS = 50;

export type LinksModules = {
  calendar: Calendar;
  network: Network;
  topology: Topology;
  nodes: readonly SimNode[];
  tell: (node: SimNode, event: PlannerEvent, nowMs: number) => void;
};

/** What PeerSet and PeerSession do, for all nodes. */
export class SimLinks {
  readonly #scenario: Scenario;
  readonly #modules: LinksModules;

  constructor(scenario: Scenario, modules: LinksModules) {
    this.#scenario = scenario;
    this.#modules = modules;
  }

  /** Links to those of the peers that are new, as far as there is room; near ones first. */
  add(node: SimNode, peers: readonly string[], nowMs: number): void {
    const { topology, nodes } = this.#modules;
    const linked = { near: 0, far: 0 };
    for (const peer of node.links) {
      if (peer >= 0) linked[topology.isAcross(node.id, peer) ? 'far' : 'near'] += 1;
    }
    const fresh = peers.flatMap((name) => {
      const peer = nodes[idOf(name)];
      if (peer === undefined || node.placeOf.has(name) || peer.id === node.id) return [];
      return (node.resting.get(peer.id) ?? 0) > nowMs ? [] : [peer];
    });
    const chosen = chooseLinks(fresh, linked, (peer) => !topology.isAcross(node.id, peer.id));
    for (const peer of chosen.now) this.#dial(node, peer, nowMs);
    node.spares = chosen.spare.map(({ name }) => name);
  }

  #dial(node: SimNode, peer: SimNode, nowMs: number): void {
    const { calendar, network, topology } = this.#modules;
    const place = node.links.indexOf(-1);
    node.resting.delete(peer.id);
    node.links[place] = peer.id;
    node.told[place] = 0;
    node.placeOf.set(peer.name, place);
    const connection = topology.peerConnection(node.id, place);
    const route = topology.fromPeer(peer.id, node.id);
    network.open(connection, route);
    const tripMs = 2 * route.latencyMs + this.#scenario.controlMs;
    const generation = network.generation(connection);
    calendar.put(nowMs + LINK_ROUND_TRIPS * tripMs, HAPPENS.linked, connection, generation);
  }

  linked(connection: number, generation: number, nowMs: number): void {
    const { calendar, network, tell } = this.#modules;
    if (network.generation(connection) !== generation) return;
    const { node, peer } = this.#ends(connection);
    if (!peer.alive) {
      const afterMs = peer.silent ? LINK_TIMEOUT_MS : 0;
      calendar.put(nowMs + afterMs, HAPPENS.lost, connection, generation);
      return;
    }
    const across = this.#modules.topology.isAcross(node.id, peer.id);
    tell(node, { type: 'peerUp', peerId: peer.name, near: !across }, nowMs);
    calendar.put(nowMs + this.#tripMs(connection), HAPPENS.have, connection, generation);
  }

  /** A peer answers what it holds. */
  have(connection: number, generation: number, nowMs: number): void {
    const { calendar, network, tell } = this.#modules;
    if (network.generation(connection) !== generation) return;
    const { node, peer, place } = this.#ends(connection);
    if (!peer.alive) {
      const afterMs = peer.silent ? HAVE_WAIT_MS + LINK_TIMEOUT_MS : 0;
      calendar.put(nowMs + afterMs, HAPPENS.lost, connection, generation);
      return;
    }
    const { count, complete } = peer.have;
    let nextMs = NEWS_MS;
    if (count !== node.told[place]) {
      node.told[place] = count;
      tell(node, { type: 'availability', peerId: peer.name, have: peer.have }, nowMs);
      nextMs = complete ? HAVE_COMPLETE_MS : node.newsPace.spacingMs + HAVE_SETTLE_MS;
      nextMs += this.#tripMs(connection);
    }
    if (node.planner === undefined || complete) return;
    calendar.put(nowMs + nextMs, HAPPENS.have, connection, generation);
  }

  /** The link is gone, or is let go. */
  lost(connection: number, generation: number, nowMs: number): void {
    const { network, tell } = this.#modules;
    if (network.generation(connection) !== generation) return;
    const { node, peer } = this.#ends(connection);
    this.#close(node, peer, nowMs);
    node.resting.set(peer.id, nowMs + LINK_REST_MS);
    tell(node, { type: 'peerDown', peerId: peer.name }, nowMs);
    if (node.planner !== undefined) this.add(node, node.spares, nowMs);
  }

  /** The node has all, or vanishes: it asks nobody any more. */
  closeAll(node: SimNode, nowMs: number): void {
    for (const peer of node.links) {
      const other = this.#modules.nodes[peer];
      if (other !== undefined) this.#close(node, other, nowMs);
    }
    this.#modules.network.close(this.#modules.topology.hubConnection(node.id), nowMs);
    node.resting.clear();
    node.requests.clear();
  }

  /** Others find their connections to the node reset, or notice nothing for now. */
  vanished(node: SimNode, nowMs: number): void {
    const { calendar, network, topology, nodes } = this.#modules;
    for (const other of nodes) {
      const place = other.placeOf.get(node.name);
      if (place === undefined) continue;
      const connection = topology.peerConnection(other.id, place);
      network.mute(connection, nowMs);
      if (node.silent) continue;
      const seenMs = nowMs + network.latencyMs(connection);
      calendar.put(seenMs, HAPPENS.lost, connection, network.generation(connection));
    }
  }

  #close(node: SimNode, peer: SimNode, nowMs: number): void {
    const place = node.placeOf.get(peer.name);
    if (place === undefined) return;
    this.#modules.network.close(this.#modules.topology.peerConnection(node.id, place), nowMs);
    node.placeOf.delete(peer.name);
    node.links[place] = -1;
  }

  #tripMs(connection: number): number {
    return 2 * this.#modules.network.latencyMs(connection) + this.#scenario.controlMs;
  }

  #ends(connection: number): { node: SimNode; peer: SimNode; place: number } {
    const { topology, nodes } = this.#modules;
    const node = nodes[topology.ownerOf(connection)];
    const place = connection % LINKS_MAX;
    const peer = nodes[node?.links[place] ?? -1];
    if (node === undefined || peer === undefined) throw new RangeError(`link ${connection}`);
    return { node, peer, place };
  }
}
