import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { DUPLICATES_MAX, HUB_INFLIGHT_MAX, PEER_INFLIGHT_MAX, STALL_MIN_MS } from './constants.ts';
import { SwarmPlanner } from './planner.ts';
import type { ChunkFailure, ChunkSet, PlannerCommand, PlannerEvent } from './planner-port.ts';

function setOf(size: number, indices: Iterable<number>): ChunkSet {
  const chunks = new Set(indices);
  return { size, has: (index) => chunks.has(index) };
}

function all(size: number): ChunkSet {
  return { size, has: () => true };
}

function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

type Behaviour = 'honest' | 'stalls' | 'fails' | 'lies' | 'lacks' | 'busy';
type World = {
  chunkCount: number;
  seed: number;
  hub: 'leases' | 'no-tracker' | 'none';
  /** How many chunks the tracker lets us take without a lease, each time. */
  bypass: number | undefined;
  peers: { behaviour: Behaviour; share: number; joinsMs: number; latencyMs: number }[];
};

const FAILURE: Record<Behaviour, ChunkFailure | undefined> = {
  honest: undefined,
  stalls: undefined,
  fails: 'failed',
  lies: 'mismatch',
  lacks: 'not-found',
  busy: 'busy',
};

/** Runs a planner against scripted sources on a virtual clock and checks every bound on the way. */
class Simulation {
  readonly have = new Set<number>();
  readonly asked = { hub: 0, peer: 0, repeats: 0 };
  readonly #planner: SwarmPlanner;
  readonly #world: World;
  readonly #flights = new Map<number, { index: number; source: string }>();
  readonly #timeline: { atMs: number; event: PlannerEvent }[] = [];
  readonly #random: () => number;
  nowMs = 0;
  #wished = 0;
  #nextAnnounceMs: number;

  constructor(world: World) {
    this.#world = world;
    this.#random = random(world.seed);
    this.#planner = new SwarmPlanner({
      chunkCount: world.chunkCount,
      have: setOf(world.chunkCount, []),
      held: setOf(world.chunkCount, []),
      hub: world.hub !== 'none',
      startMs: 0,
      random: this.#random,
    });
    for (const [at, peer] of world.peers.entries()) {
      const peerId = `peer-${at}`;
      const indices = [...Array(world.chunkCount).keys()].filter(() => this.#random() < peer.share);
      this.#at(peer.joinsMs, { type: 'peerUp', peerId });
      const have = peer.share === 1 ? all(world.chunkCount) : setOf(world.chunkCount, indices);
      this.#at(peer.joinsMs, { type: 'availability', peerId, have });
    }
    if (world.hub !== 'leases') this.#at(0, { type: 'hubDown' });
    this.#nextAnnounceMs = world.hub === 'leases' ? 0 : Number.POSITIVE_INFINITY;
  }

  get missing(): number {
    return this.#planner.missing;
  }

  run(limitMs: number): void {
    while (this.#planner.missing > 0 && this.nowMs < limitMs) {
      this.#timeline.sort((a, b) => a.atMs - b.atMs);
      const next = this.#timeline[0];
      const tickMs = (Math.floor(this.nowMs / 250) + 1) * 250;
      if (next === undefined || next.atMs >= tickMs) {
        this.nowMs = tickMs;
        this.#feed({ type: 'tick' });
        if (this.nowMs >= this.#nextAnnounceMs) this.#lease(this.#wished);
      } else {
        this.#timeline.shift();
        this.nowMs = Math.max(this.nowMs, next.atMs);
        this.#feed(next.event);
      }
    }
  }

  #at(atMs: number, event: PlannerEvent): void {
    this.#timeline.push({ atMs, event });
  }

  #feed(event: PlannerEvent): void {
    if ('ticket' in event && event.ticket !== undefined && event.type !== 'started') {
      if (!this.#flights.delete(event.ticket)) return;
      if (event.type === 'chunkDone') this.have.add(event.index);
    }
    for (const command of this.#planner.handle(event, this.nowMs)) this.#obey(command);
    this.#checkBounds();
  }

  #obey(command: PlannerCommand): void {
    if (command.type === 'cancel') {
      assert.ok(this.#flights.delete(command.ticket), 'cancels only what is in flight');
    } else if (command.type === 'askHubLease') {
      this.#wished = command.wanted;
    } else if (command.type === 'letGo') {
      const event = { type: 'peerDown', peerId: command.peerId } as const;
      this.#at(this.nowMs, event);
    } else {
      assert.ok(!this.have.has(command.index), 'never asks for what it has');
      const source = command.type === 'fetchFromHub' ? 'hub' : command.peerId;
      if (source === 'hub') this.asked.hub += 1;
      else this.asked.peer += 1;
      this.#flights.set(command.ticket, { index: command.index, source });
      this.#answer(command.ticket, command.index, source);
    }
  }

  #lease(wanted: number): void {
    const free = [...Array(this.#world.chunkCount).keys()].filter((index) => !this.have.has(index));
    const indices = free.slice(0, Math.min(wanted, 4));
    const peersKnown = this.#world.peers.length;
    const { bypass } = this.#world;
    this.#nextAnnounceMs = this.nowMs + 300;
    this.#at(this.nowMs + 50, { type: 'hubLease', indices, peersKnown, bypass });
  }

  #answer(ticket: number, index: number, source: string): void {
    this.#at(this.nowMs, { type: 'started', ticket });
    const at = source === 'hub' ? -1 : Number(source.slice('peer-'.length));
    const peer = this.#world.peers[at];
    if (peer?.behaviour === 'stalls') return;
    const reason = peer === undefined ? undefined : FAILURE[peer.behaviour];
    const atMs = this.nowMs + (peer?.latencyMs ?? 20) * (1 + this.#random());
    if (reason === undefined) this.#at(atMs, { type: 'chunkDone', index, ticket });
    else this.#at(atMs, { type: 'chunkFailed', ticket, reason });
  }

  #checkBounds(): void {
    const bySource = new Map<string, number>();
    const byChunk = new Map<number, string[]>();
    for (const { index, source } of this.#flights.values()) {
      bySource.set(source, (bySource.get(source) ?? 0) + 1);
      byChunk.set(index, [...(byChunk.get(index) ?? []), source]);
    }
    for (const [source, count] of bySource) {
      assert.ok(count <= (source === 'hub' ? HUB_INFLIGHT_MAX : PEER_INFLIGHT_MAX), source);
    }
    let duplicates = 0;
    for (const sources of byChunk.values()) {
      assert.equal(new Set(sources).size, sources.length, 'one source is asked once for a chunk');
      assert.ok(sources.filter((source) => source !== 'hub').length <= 2);
      duplicates += sources.length - 1;
    }
    assert.ok(duplicates <= DUPLICATES_MAX);
  }
}

const worlds: fc.Arbitrary<World> = fc.record({
  chunkCount: fc.integer({ min: 1, max: 120 }),
  seed: fc.integer(),
  hub: fc.constantFrom('leases', 'no-tracker', 'none'),
  bypass: fc.constantFrom(0, 1, undefined),
  peers: fc.array(
    fc.record({
      behaviour: fc.constantFrom<Behaviour[]>('honest', 'stalls', 'fails', 'lies', 'lacks', 'busy'),
      share: fc.constantFrom(0, 0.3, 0.7, 1),
      joinsMs: fc.constantFrom(0, 100, 4000),
      latencyMs: fc.constantFrom(5, 50, 900, 6000),
    }),
    { maxLength: 12 },
  ),
});

describe('the planner', () => {
  it('always finishes when some source has each chunk, within all bounds', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const hasSeed = world.peers.some((p) => p.behaviour === 'honest' && p.share === 1);
        fc.pre(world.hub !== 'none' || hasSeed);
        const simulation = new Simulation(world);
        simulation.run(3_600_000);
        assert.equal(simulation.missing, 0);
        assert.equal(simulation.have.size, world.chunkCount);
      }),
      { numRuns: 300 },
    );
  });

  it('takes from the hub only what is leased while peers can give the rest', () => {
    const peer = { behaviour: 'honest' as const, share: 1, joinsMs: 0, latencyMs: 50 };
    const world: World = {
      chunkCount: 200,
      seed: 7,
      hub: 'leases',
      bypass: 0,
      peers: [peer, peer, peer],
    };
    const simulation = new Simulation(world);
    simulation.run(60_000);
    assert.equal(simulation.missing, 0);
    assert.equal(simulation.asked.hub, 0);
  });

  it('finishes from a peer so slow that every request looks stalled', () => {
    const peer = { behaviour: 'honest' as const, share: 1, joinsMs: 0, latencyMs: 25_000 };
    const world: World = { chunkCount: 20, seed: 3, hub: 'none', bypass: 0, peers: [peer] };
    const simulation = new Simulation(world);
    simulation.run(3_600_000);
    assert.equal(simulation.missing, 0);
  });
});

function planner(chunkCount: number, held: number[] = []): SwarmPlanner {
  return new SwarmPlanner({
    chunkCount,
    have: setOf(chunkCount, []),
    held: setOf(chunkCount, held),
    hub: true,
    startMs: 0,
    random: random(1),
  });
}

function askedOfPeers(commands: PlannerCommand[]): number[] {
  return commands.flatMap((c) => (c.type === 'fetchFromPeer' ? [c.index] : []));
}

function askedOfHub(commands: PlannerCommand[]): number[] {
  return commands.flatMap((c) => (c.type === 'fetchFromHub' && !c.leased ? [c.index] : []));
}

describe('the choice of chunks', () => {
  it('prefers what fewest peers hold', () => {
    const subject = planner(400);
    subject.handle({ type: 'chunkDone', index: 399 }, 0);
    subject.handle({ type: 'peerUp', peerId: 'a' }, 0);
    subject.handle({ type: 'peerUp', peerId: 'b' }, 0);
    subject.handle({ type: 'hubLease', indices: [], peersKnown: 2 }, 0);
    const common = [...Array(30).keys()];
    const first = subject.handle(
      { type: 'availability', peerId: 'a', have: setOf(400, common) },
      0,
    );
    assert.equal(askedOfPeers(first).length, 4);
    const have = setOf(400, [...common, 33, 34, 35, 36]);
    const second = subject.handle({ type: 'availability', peerId: 'b', have }, 0);
    assert.deepEqual(
      askedOfPeers(second).toSorted((a, b) => a - b),
      [33, 34, 35, 36],
    );
  });

  it('asks others when the only peer is stuck with all that was asked for', () => {
    const subject = planner(20);
    subject.handle({ type: 'peerUp', peerId: 'a' }, 0);
    const asked = subject.handle({ type: 'availability', peerId: 'a', have: all(20) }, 0);
    const tickets = asked.flatMap((c) => (c.type === 'fetchFromPeer' ? [c.ticket] : []));
    for (const ticket of tickets) subject.handle({ type: 'started', ticket }, 0);
    subject.handle({ type: 'tick' }, STALL_MIN_MS);
    subject.handle({ type: 'peerUp', peerId: 'b' }, STALL_MIN_MS);
    const more = subject.handle({ type: 'availability', peerId: 'b', have: all(20) }, STALL_MIN_MS);
    assert.equal(askedOfPeers(more).length, askedOfPeers(asked).length);
  });

  it('serves a reader that has stood for ten seconds first', () => {
    const subject = planner(1000);
    subject.handle({ type: 'peerUp', peerId: 'a' }, 0);
    subject.handle({ type: 'peerUp', peerId: 'b' }, 0);
    subject.handle({ type: 'hubLease', indices: [], peersKnown: 2, bypass: 1 }, 0);
    const readers = [{ chunk: 500, waitingSinceMs: 0, chunksPerSecond: 0 }];
    subject.handle({ type: 'readers', readers }, 10_000);
    const commands = [
      ...subject.handle({ type: 'availability', peerId: 'a', have: all(1000) }, 10_000),
      ...subject.handle({ type: 'availability', peerId: 'b', have: all(1000) }, 10_000),
    ];
    const asked = askedOfPeers(commands).toSorted((a, b) => a - b);
    assert.deepEqual(asked, [501, 502, 503, 504, 505, 506, 507, 508], 'the hub has 500');
  });

  it('leaves chunks alone that are being checked on disk, until they are lost', () => {
    const subject = planner(3, [1]);
    subject.handle({ type: 'peerUp', peerId: 'a' }, 0);
    const have = subject.handle({ type: 'availability', peerId: 'a', have: all(3) }, 0);
    assert.deepEqual(
      askedOfPeers(have).toSorted((a, b) => a - b),
      [0, 2],
    );
    assert.deepEqual(askedOfPeers(subject.handle({ type: 'released', index: 1 }, 0)), [1]);
  });

  it('reads the hub in order when there is nobody else', () => {
    const subject = planner(100);
    subject.handle({ type: 'hubLease', indices: [70], peersKnown: 0 }, 0);
    assert.deepEqual(askedOfHub(subject.handle({ type: 'tick' }, 1_000)), []);
    assert.deepEqual(askedOfHub(subject.handle({ type: 'tick' }, 2_000)), [0, 1, 2]);
  });

  it('turns to the hub at once when the tracker is gone and no peer is known', () => {
    const commands = planner(100).handle({ type: 'hubDown' }, 0);
    assert.equal(commands.filter((command) => command.type === 'fetchFromHub').length, 4);
  });
});

describe('a planner of a blob whose chunk hashes are still to come', () => {
  const CHUNKS = 8;

  function growing(): { subject: SwarmPlanner; asks: (event: PlannerEvent) => PlannerCommand[] } {
    const subject = new SwarmPlanner({
      chunkCount: CHUNKS,
      have: setOf(CHUNKS, []),
      held: all(CHUNKS),
      growing: true,
      hub: true,
      startMs: 0,
      random: random(1),
    });
    const asks = (event: PlannerEvent): PlannerCommand[] =>
      subject.handle(event, 1).filter(({ type }) => type !== 'askHubLease');
    return { subject, asks };
  }

  it('wishes for leases at once, and asks the hub when the hash is known', () => {
    const { subject, asks } = growing();
    const wish = subject.handle({ type: 'tick' }, 1).find(({ type }) => type === 'askHubLease');
    assert.ok(wish !== undefined);
    assert.deepEqual(asks({ type: 'hubLease', indices: [1, 2], peersKnown: 3 }), []);
    const [ask] = asks({ type: 'released', index: 1 });
    assert.ok(ask?.type === 'fetchFromHub' && ask.leased && ask.index === 1);
    assert.equal(subject.missing, CHUNKS);
  });

  it('asks for the first chunk before its hash is known, once, and blames nobody for it', () => {
    const { asks } = growing();
    const [early, ...more] = asks({ type: 'hubLease', indices: [0, 1], peersKnown: 3 });
    assert.ok(early?.type === 'fetchFromHub' && early.leased && early.index === 0);
    assert.deepEqual(more, []);
    const { ticket } = early;
    assert.deepEqual(asks({ type: 'chunkFailed', ticket, reason: 'failed' }), []);
    assert.deepEqual(asks({ type: 'hubLease', indices: [0], peersKnown: 3 }), []);
    const [again] = asks({ type: 'released', index: 0 });
    assert.ok(again?.type === 'fetchFromHub' && again.leased && again.index === 0);
  });

  it('waits for a first chunk on its way as long as it takes, and then asks nobody else', () => {
    const { subject, asks } = growing();
    const [early] = asks({ type: 'hubLease', indices: [0], peersKnown: 3 });
    assert.ok(early?.type === 'fetchFromHub');
    for (let nowMs = 0; nowMs < 60_000; nowMs += 250) {
      const commands = subject.handle({ type: 'tick' }, nowMs);
      assert.deepEqual(
        commands.filter(({ type }) => type !== 'askHubLease'),
        [],
      );
    }
    assert.deepEqual(asks({ type: 'released', index: 0 }), []);
    asks({ type: 'started', ticket: early.ticket });
    asks({ type: 'chunkDone', index: 0, ticket: early.ticket });
    assert.equal(subject.missing, CHUNKS - 1);
  });

  it('lets go of a first chunk on its way when the hub begins anew', () => {
    const { asks } = growing();
    const [early] = asks({ type: 'hubLease', indices: [0], peersKnown: 3 });
    assert.ok(early?.type === 'fetchFromHub');
    const cancel = { type: 'cancel', ticket: early.ticket };
    assert.deepEqual(asks({ type: 'held', index: 0 }), [cancel]);
    const [again] = asks({ type: 'released', index: 0 });
    assert.ok(again?.type === 'fetchFromHub' && again.leased, 'the lease of it is kept');
  });

  it('asks peers only for chunks that can be checked', () => {
    const { asks } = growing();
    asks({ type: 'peerUp', peerId: 'a' });
    assert.deepEqual(asks({ type: 'availability', peerId: 'a', have: all(CHUNKS) }), []);
    const [ask] = asks({ type: 'released', index: 5 });
    assert.ok(ask?.type === 'fetchFromPeer' && ask.index === 5);
  });

  it('lets go of what cannot be checked any more, and asks again when it can', () => {
    const { subject, asks } = growing();
    asks({ type: 'peerUp', peerId: 'a' });
    asks({ type: 'availability', peerId: 'a', have: all(CHUNKS) });
    const [had] = asks({ type: 'released', index: 2 });
    assert.ok(had?.type === 'fetchFromPeer');
    asks({ type: 'chunkDone', index: 2, ticket: had.ticket });
    const [flying] = asks({ type: 'released', index: 3 });
    assert.ok(flying?.type === 'fetchFromPeer');
    assert.equal(subject.missing, CHUNKS - 1);
    assert.deepEqual(asks({ type: 'held', index: 2 }), []);
    assert.deepEqual(asks({ type: 'held', index: 3 }), [{ type: 'cancel', ticket: flying.ticket }]);
    assert.equal(subject.missing, CHUNKS);
    const [again] = asks({ type: 'released', index: 2 });
    assert.ok(again?.type === 'fetchFromPeer' && again.index === 2);
    asks({ type: 'chunkDone', index: 3 });
    assert.equal(subject.missing, CHUNKS - 1, 'the same hash: nothing has to be fetched');
  });
});
