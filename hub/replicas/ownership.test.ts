import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { HEARTBEAT_MS, LAPSE_MS, TAKEOVER_MS } from './constants.ts';
import { MemoryReplicaStore } from './memory-store.ts';
import { Ownership } from './ownership.ts';
import type { ReplicaSnapshot } from './store.ts';
import { Watch } from './watch.ts';

const LEASE_MS = 5000;
const DIGESTS = Array.from({ length: 12 }, (_, i) => digestOf(Buffer.from(`blob ${i}`)));

type Beat = { beganMs: number; seen: number; answer?: ReplicaSnapshot };

/** A replica of a world whose clocks differ, and whose calls take as long as they like. */
class Actor {
  readonly id: string;
  readonly ownership: Ownership;
  readonly store: MemoryReplicaStore;
  readonly #steady: () => number;
  readonly #fast: () => number;
  #watch = new Watch();
  #beats: Beat[] = [];
  /** It does nothing in rounds. */
  isStuck = false;

  constructor(id: string, world: World, rate: number) {
    this.id = id;
    this.store = world.store;
    // Up to a tenth beside the time, each in the direction it may differ in.
    this.#fast = () => world.nowMs * (1 + rate);
    this.#steady = () => world.nowMs * (1 - rate);
    const clocks = { fast: this.#fast, steady: this.#steady };
    this.ownership = new Ownership({ leaseMs: LEASE_MS / (1 - rate), clocks });
  }

  async join(): Promise<void> {
    const { id } = this;
    this.die();
    const joined = await this.store.join({ id, url: `http://${id}` }, { max: 9 });
    this.ownership.joined({ id, joined: joined ?? 0 });
  }

  die(): void {
    this.ownership.stop();
    this.#beats = [];
    this.#watch = new Watch();
  }

  begin(): void {
    if (this.ownership.self === undefined || this.#beats.length >= 3) return;
    this.#beats.push({ beganMs: this.#fast(), seen: this.ownership.seen });
  }

  /** The catalog gets one of the heartbeats on their way, perhaps after a later one. */
  async reach(which: number): Promise<void> {
    const beat = this.#beats[which % Math.max(1, this.#beats.length)];
    const { self } = this.ownership;
    if (beat === undefined || beat.answer !== undefined || self === undefined) return;
    beat.answer = await this.store.beat({ ...self, seen: beat.seen });
  }

  async finish(which: number): Promise<void> {
    const at = which % Math.max(1, this.#beats.length);
    const { answer, beganMs } = this.#beats[at] ?? {};
    if (answer === undefined || beganMs === undefined) return;
    this.#beats.splice(at, 1);
    if (!this.ownership.took(answer, beganMs)) return this.join();
    const still = this.#watch.look(answer.replicas, this.#steady());
    if (!this.ownership.isAlive) return;
    for (const row of still.filter(({ id }) => id !== this.id)) await this.store.evict(row);
  }

  /** All of it at once. */
  async beat(which: number): Promise<void> {
    this.begin();
    await this.reach(which);
    await this.finish(which);
  }

  async leave(): Promise<void> {
    const { self } = this.ownership;
    this.die();
    if (self !== undefined) await this.store.leave(self);
  }
}

class World {
  readonly store = new MemoryReplicaStore();
  readonly actors: readonly Actor[];
  /** Who leased of a digest last, and until when that may be on its way. */
  readonly #leased = new Map<Digest, { id: string; untilMs: number }>();
  nowMs = 1_000_000;
  owned = 0;
  moved = 0;

  constructor(rates: readonly number[]) {
    this.actors = rates.map((rate, i) => new Actor(`hub-${i}`, this, rate));
  }

  async round(which: number): Promise<void> {
    for (const actor of this.actors.filter(({ isStuck }) => !isStuck)) {
      await actor.beat(which);
      this.check();
    }
  }

  check(): void {
    for (const digest of DIGESTS) {
      const parts = this.actors.map(({ id, ownership }) => ({
        id,
        part: ownership.partIn(digest),
      }));
      const owners = parts.filter(({ part }) => part.kind === 'owner');
      assert.ok(owners.length <= 1, `owned by ${owners.map(({ id }) => id).join(' and ')}`);
      const [owner] = owners;
      if (owner?.part.kind !== 'owner') continue;
      this.owned += 1;
      if (!owner.part.leases) continue;
      const last = this.#leased.get(digest);
      if (last !== undefined && last.id !== owner.id) {
        assert.ok(last.untilMs <= this.nowMs, `${owner.id} leases what ${last.id} leased`);
        this.moved += 1;
      }
      this.#leased.set(digest, { id: owner.id, untilMs: this.nowMs + LEASE_MS });
    }
  }
}

const STEP = fc.record({
  who: fc.nat(2),
  does: fc.constantFrom(
    ...(['round', 'round', 'round', 'round', 'round', 'round', 'beat', 'beat', 'wait'] as const),
    ...(['begin', 'reach', 'finish', 'begin', 'reach', 'finish', 'join', 'join'] as const),
    ...(['die', 'leave', 'stick'] as const),
  ),
  which: fc.nat(2),
  waitMs: fc.oneof(
    fc.nat(HEARTBEAT_MS),
    fc.nat(HEARTBEAT_MS),
    fc.constantFrom(LAPSE_MS, TAKEOVER_MS, LEASE_MS),
  ),
});
type Step = typeof STEP extends fc.Arbitrary<infer T> ? T : never;

async function act(world: World, { who, does, which, waitMs }: Step): Promise<void> {
  const actor = world.actors[who % world.actors.length];
  assert.ok(actor);
  world.nowMs += waitMs;
  world.check();
  if (does === 'round') await world.round(which);
  else if (does === 'beat') await actor.beat(which);
  else if (does === 'reach' || does === 'finish') await actor[does](which);
  else if (does === 'begin') actor.begin();
  else if (does === 'join' && actor.ownership.self === undefined) await actor.join();
  else if (does === 'die') actor.die();
  else if (does === 'leave') await actor.leave();
  else if (does === 'stick') actor.isStuck = !actor.isStuck;
  world.check();
}

test('a replica that meets an older catalog owns nothing and comes in again', async () => {
  const world = new World([0, 0]);
  const [first, second] = world.actors;
  assert.ok(first && second);
  await first.join();
  const former = structuredClone(await first.store.beat({ id: '', joined: 0, seen: 0 }));
  await second.join();
  for (let i = 0; i < 3; i += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one round after the other
    await world.round(0);
  }
  assert.ok(first.ownership.isOwner);
  assert.ok(!first.ownership.took(former, world.nowMs));
  assert.ok(!first.ownership.isOwner);
});

test('a digest never has two owners, nor leases of two, however replicas fail', async () => {
  const rates = fc.array(fc.constantFrom(0, 0.02, 0.1), { minLength: 3, maxLength: 3 });
  const steps = fc.array(STEP, { minLength: 100, maxLength: 300, size: 'max' });
  const totals = { owned: 0, moved: 0 };
  await fc.assert(
    fc.asyncProperty(rates, steps, async (each, all) => {
      const world = new World(each);
      for (const actor of world.actors) await actor.join();
      for (const step of all) await act(world, step);
      totals.owned += world.owned;
      totals.moved += world.moved;
    }),
    { numRuns: 150 },
  );
  assert.ok(totals.owned > 10_000 && totals.moved > 50, JSON.stringify(totals));
});
