import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import {
  DOWNLOAD_INFLIGHT_MAX,
  HUB_INFLIGHT_MAX,
  PEER_INFLIGHT_MAX,
  TICK_MS,
} from './constants.ts';
import { SwarmPlanner } from './planner.ts';
import type { ChunkSet, PlannerCommand, PlannerEvent } from './planner-port.ts';

const LEASE_MS = 5_000;
const NEWS_MS = 100;
const ANNOUNCE_MS = 300;
const LINK_MS = 20;
const LIMIT_MS = 600_000;
/** Requests per chunk and agent beyond which agents only keep each other busy. */
const REQUESTS_PER_CHUNK_MAX = 12;

type World = {
  chunkCount: number;
  seed: number;
  /** Which part of the chunks each agent holds at first; every chunk is with somebody. */
  shares: readonly number[];
  hub: 'leases' | 'no-tracker' | 'none';
  /** How many chunks the tracker lets each take without a lease, each time. */
  bypass: number | undefined;
  /** Part of the requests that are refused as too many, and that fail half-way. */
  busy: number;
  broken: number;
  /** Agents take turns to be of so many zones. */
  zones?: number;
  /** Which chunks the tracker lets an agent fetch from other zones; undefined: it does not know. */
  crossings?: 'one-each' | 'none' | undefined;
  /** This agent vanishes at this time; its connections fail. */
  leaves: { agent: number; atMs: number } | undefined;
};

function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function setOf(size: number, chunks: Set<number>): ChunkSet {
  return { size, has: (index) => chunks.has(index) };
}

type Agent = {
  id: string;
  have: Set<number>;
  planner: SwarmPlanner;
  requests: Map<number, { source: string; index: number }>;
  asked: number;
  wished: number;
  gone: boolean;
};

/** Planners that serve each other on a virtual clock; a tracker leases each chunk once. */
class Fleet {
  readonly agents: Agent[];
  readonly #world: World;
  readonly #random: () => number;
  readonly #queue: { atMs: number; order: number; run: () => void }[] = [];
  readonly #leases = new Map<number, number>();
  readonly #crossings = new Map<string, { id: string; endMs: number }>();
  #order = 0;
  #nowMs = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = randomFrom(world.seed);
    const { chunkCount, shares, hub } = world;
    const holdings = shares.map(() => new Set<number>());
    for (let index = 0; index < chunkCount; index += 1) {
      for (const [at, share] of shares.entries()) {
        if (this.#random() < share) holdings[at]?.add(index);
      }
      const somebody = Math.floor(this.#random() * shares.length);
      if (hub === 'none') holdings[somebody]?.add(index);
    }
    this.agents = holdings.map((have, at) => ({
      id: `agent-${at}`,
      have,
      requests: new Map(),
      asked: 0,
      wished: 0,
      gone: false,
      planner: new SwarmPlanner({
        chunkCount,
        have: setOf(chunkCount, have),
        held: setOf(chunkCount, new Set()),
        hub: hub !== 'none',
        startMs: 0,
        random: this.#random,
      }),
    }));
    for (const agent of this.agents) this.#start(agent);
    const { leaves } = world;
    const leaver = this.agents[leaves?.agent ?? -1];
    if (leaver !== undefined && leaves !== undefined)
      this.#at(leaves.atMs, () => this.#lose(leaver));
  }

  /** Runs until everybody who is left has all. */
  run(): void {
    while (this.agents.some((agent) => !agent.gone && agent.planner.missing > 0)) {
      this.#queue.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
      const next = this.#queue.shift();
      assert.ok(next !== undefined && this.#nowMs < LIMIT_MS, 'they never finish');
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
  }

  #start(agent: Agent): void {
    if (this.#world.hub === 'leases') this.#at(0, () => this.#announce(agent));
    else this.#at(0, () => this.#tell(agent, { type: 'hubDown' }));
    for (const peer of this.agents) {
      if (peer !== agent) this.#link(agent, peer, LINK_MS * this.#random());
    }
    const tick = (): void => {
      if (agent.gone) return;
      this.#tell(agent, { type: 'tick' });
      this.#at(this.#nowMs + TICK_MS, tick);
    };
    this.#at(0, tick);
  }

  #link(agent: Agent, peer: Agent, afterMs: number): void {
    let told = -1;
    const news = (): void => {
      if (agent.gone || peer.gone) return;
      if (peer.have.size !== told) {
        told = peer.have.size;
        const have = setOf(this.#world.chunkCount, peer.have);
        this.#tell(agent, { type: 'availability', peerId: peer.id, have });
      }
      this.#at(this.#nowMs + NEWS_MS, news);
    };
    this.#at(this.#nowMs + afterMs, () => {
      if (peer.gone) return;
      const near = this.#zoneOf(agent) === this.#zoneOf(peer);
      this.#tell(agent, { type: 'peerUp', peerId: peer.id, near });
      news();
    });
  }

  #lose(agent: Agent): void {
    agent.gone = true;
    for (const other of this.agents) {
      if (other !== agent) this.#tell(other, { type: 'peerDown', peerId: agent.id });
    }
  }

  #at(atMs: number, run: () => void): void {
    this.#order += 1;
    this.#queue.push({ atMs, order: this.#order, run });
  }

  #tell(agent: Agent, event: PlannerEvent): void {
    if (agent.gone) return;
    for (const command of agent.planner.handle(event, this.#nowMs)) this.#obey(agent, command);
    this.#check(agent);
  }

  #obey(agent: Agent, command: PlannerCommand): void {
    if (command.type === 'cancel') agent.requests.delete(command.ticket);
    else if (command.type === 'askHubLease') agent.wished = command.wanted;
    else if (command.type === 'letGo') {
      const peer = this.#agent(command.peerId);
      this.#at(this.#nowMs, () => this.#tell(agent, { type: 'peerDown', peerId: peer.id }));
      this.#link(agent, peer, LEASE_MS);
    } else {
      const { ticket, index } = command;
      const source = command.type === 'fetchFromHub' ? 'hub' : command.peerId;
      assert.ok(!agent.have.has(index), 'never asks for what it has');
      if (source !== 'hub') assert.ok(this.#agent(source).have.has(index), 'nor for what none has');
      agent.asked += 1;
      agent.requests.set(ticket, { source, index });
      this.#at(this.#nowMs, () => {
        if (agent.requests.has(ticket)) this.#tell(agent, { type: 'started', ticket });
      });
      this.#at(this.#nowMs + 10 + this.#random() * 400, () => this.#serve(agent, ticket));
    }
  }

  #serve(agent: Agent, ticket: number): void {
    const request = agent.requests.get(ticket);
    if (request === undefined) return;
    agent.requests.delete(ticket);
    const lot = this.#random();
    const { busy, broken } = this.#world;
    if (lot < busy + broken) {
      const reason = lot < busy ? 'busy' : 'failed';
      return this.#tell(agent, { type: 'chunkFailed', ticket, reason });
    }
    agent.have.add(request.index);
    this.#tell(agent, { type: 'chunkDone', index: request.index, ticket });
  }

  #announce(agent: Agent): void {
    if (agent.gone) return;
    const wanted = agent.wished;
    agent.wished = 0;
    const indices: number[] = [];
    for (let index = 0; index < this.#world.chunkCount && indices.length < wanted; index += 1) {
      const isHeld = this.agents.some((other) => !other.gone && other.have.has(index));
      if (isHeld || (this.#leases.get(index) ?? 0) > this.#nowMs) continue;
      this.#leases.set(index, this.#nowMs + LEASE_MS);
      indices.push(index);
    }
    const peersKnown = this.agents.length - 1;
    const { bypass } = this.#world;
    const crossings = this.#cross(agent);
    this.#at(this.#nowMs + LINK_MS, () => {
      this.#tell(agent, { type: 'hubLease', indices, peersKnown, bypass, crossings });
    });
    this.#at(this.#nowMs + ANNOUNCE_MS, () => this.#announce(agent));
  }

  #cross(agent: Agent): number[] | undefined {
    if (this.#world.crossings === undefined) return undefined;
    const wanted = agent.planner.crossingsWanted(this.#nowMs);
    if (this.#world.crossings === 'none') return [];
    return wanted.filter((index) => {
      const key = `${this.#zoneOf(agent)} ${index}`;
      const known = this.#crossings.get(key);
      if (known !== undefined && known.id !== agent.id && known.endMs > this.#nowMs) return false;
      this.#crossings.set(key, { id: agent.id, endMs: this.#nowMs + LEASE_MS });
      return true;
    });
  }

  #zoneOf(agent: Agent): number {
    return this.agents.indexOf(agent) % (this.#world.zones ?? 1);
  }

  #check(agent: Agent): void {
    const bySource = new Map<string, number>();
    for (const { source } of agent.requests.values()) {
      bySource.set(source, (bySource.get(source) ?? 0) + 1);
    }
    for (const [source, count] of bySource) {
      assert.ok(count <= (source === 'hub' ? HUB_INFLIGHT_MAX : PEER_INFLIGHT_MAX), source);
    }
    assert.ok(agent.requests.size <= DOWNLOAD_INFLIGHT_MAX);
  }

  #agent(id: string): Agent {
    const agent = this.agents.find((other) => other.id === id);
    assert.ok(agent, id);
    return agent;
  }
}

function finishes(world: World): void {
  const fleet = new Fleet(world);
  fleet.run();
  for (const { gone, have, asked } of fleet.agents) {
    if (!gone) assert.equal(have.size, world.chunkCount);
    assert.ok(asked <= world.chunkCount * REQUESTS_PER_CHUNK_MAX, `${asked} requests`);
  }
}

const trouble = {
  chunkCount: fc.integer({ min: 1, max: 90 }),
  seed: fc.integer(),
  busy: fc.constantFrom(0, 0.3),
  bypass: fc.constantFrom(0, 2, undefined),
  broken: fc.constantFrom(0, 0.2),
};

describe('planners among themselves', () => {
  it('two that hold the halves of a blob never wait for each other for ever', () => {
    const shares = fc.constantFrom([0, 0], [0.5, 0.5], [0, 0.9]);
    const leaves = fc.constant(undefined);
    const worlds = fc.record({ ...trouble, shares, hub: fc.constant('none' as const), leaves });
    fc.assert(fc.property(worlds, finishes), { numRuns: 150 });
  });

  it('finish from a hub of which nobody holds anything yet', () => {
    const shares = fc.array(fc.constantFrom(0, 0.1), { minLength: 2, maxLength: 6 });
    const hub = fc.constantFrom<World['hub'][]>('leases', 'no-tracker');
    const leaves = fc.constant(undefined);
    fc.assert(fc.property(fc.record({ ...trouble, shares, hub, leaves }), finishes), {
      numRuns: 120,
    });
  });

  it('finish when one that others count on vanishes', () => {
    const leaves = fc.record({ agent: fc.constant(0), atMs: fc.nat(3_000) });
    const shares = fc.constantFrom([0.5, 0, 0], [0, 0, 0, 0], [1, 0]);
    const hub = fc.constant('leases' as const);
    fc.assert(fc.property(fc.record({ ...trouble, shares, hub, leaves }), finishes), {
      numRuns: 120,
    });
  });

  it('finish in zones of their own, whatever the tracker lets them fetch from others', () => {
    const shares = fc.constantFrom([0, 0, 0, 0], [1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0, 0]);
    const zoned = {
      zones: fc.constantFrom(2, 3),
      crossings: fc.constantFrom<World['crossings'][]>('one-each', 'none', undefined),
      leaves: fc.option(fc.record({ agent: fc.constant(1), atMs: fc.nat(3_000) }), {
        nil: undefined,
      }),
    };
    const hub = fc.constantFrom<World['hub'][]>('leases', 'no-tracker');
    fc.assert(fc.property(fc.record({ ...trouble, ...zoned, shares, hub }), finishes), {
      numRuns: 150,
    });
  });
});
