import { LINKS_MAX } from '../../agent/fetch/constants.ts';
import type { Route } from './network.ts';
import { bytesPerMs } from './scenario.ts';
import type { Scenario } from './scenario.ts';

const HUB_ZONE = 0;

/**
 * Numbers of links and connections. Resources: the uplinks of all nodes, the hub's uplink, the
 * downlinks of all nodes, the trunks. Connections: LINKS_MAX of each node, then one of each node to
 * the hub.
 */
export class Topology {
  readonly nodes: number;
  readonly connections: number;
  readonly capacity: Float64Array;
  readonly hubUp: number;
  readonly #scenario: Scenario;
  readonly #zoneOf: (node: number) => number;

  constructor(scenario: Scenario, nodes: number, zoneOf: (node: number) => number) {
    this.nodes = nodes;
    this.connections = nodes * (LINKS_MAX + 1);
    this.hubUp = nodes;
    this.#scenario = scenario;
    this.#zoneOf = zoneOf;
    const { nodeBitsPerSecond, hubBitsPerSecond, trunkBitsPerSecond, zones } = scenario;
    this.capacity = new Float64Array(2 * nodes + 1 + zones * zones);
    this.capacity.fill(bytesPerMs(nodeBitsPerSecond), 0, 2 * nodes + 1);
    this.capacity[this.hubUp] = bytesPerMs(hubBitsPerSecond);
    this.capacity.fill(bytesPerMs(trunkBitsPerSecond), 2 * nodes + 1);
  }

  peerConnection(node: number, place: number): number {
    return node * LINKS_MAX + place;
  }

  hubConnection(node: number): number {
    return this.nodes * LINKS_MAX + node;
  }

  isHubConnection(connection: number): boolean {
    return connection >= this.nodes * LINKS_MAX;
  }

  /** Who receives on the connection. */
  ownerOf(connection: number): number {
    const peers = this.nodes * LINKS_MAX;
    return connection < peers ? Math.floor(connection / LINKS_MAX) : connection - peers;
  }

  down(node: number): number {
    return this.nodes + 1 + node;
  }

  fromHub(node: number): Route {
    return this.#route(this.hubUp, HUB_ZONE, node);
  }

  fromPeer(peer: number, node: number): Route {
    return this.#route(peer, this.#zoneOf(peer), node);
  }

  isAcross(one: number, other: number): boolean {
    return this.#zoneOf(one) !== this.#zoneOf(other);
  }

  #route(up: number, from: number, node: number): Route {
    const { zones, rttMs, rttAcrossMs } = this.#scenario;
    const to = this.#zoneOf(node);
    const trunk = from === to ? -1 : 2 * this.nodes + 1 + from * zones + to;
    return { up, down: this.down(node), trunk, latencyMs: (from === to ? rttMs : rttAcrossMs) / 2 };
  }
}
