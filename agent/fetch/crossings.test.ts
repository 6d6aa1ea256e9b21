import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  CROSSING_DECLINED_MS,
  CROSSING_KEPT_MS,
  CROSSING_PATIENCE_MS,
  CROSSING_PATIENCE_SPREAD_MS,
  FAR_INFLIGHT_UNKNOWN,
  FAR_USUAL_START_MS,
  LINE_QUICK_MS,
  LINE_SLOW_MS,
  STALL_FACTOR,
  STALL_MIN_MS,
  STANDING_HEDGE_MS,
  TICK_MS,
  URGENT_STOOD_MS,
} from './constants.ts';
import { SwarmPlanner } from './planner.ts';
import type { ChunkSet, PlannerCommand, PlannerEvent } from './planner-port.ts';

const COUNT = 40;
const PATIENCE_MAX_MS = CROSSING_PATIENCE_MS + CROSSING_PATIENCE_SPREAD_MS;

type Request = { ticket: number; index: number; peerId: string };

/** A chunk by which the line is found to be slow, before a trial begins. */
const PROBE = COUNT;

function setOf(...indices: number[]): ChunkSet {
  return { size: COUNT + 1, has: (index) => indices.includes(index) };
}

const ALL: ChunkSet = { size: COUNT + 1, has: () => true };

/** A download in a zone of its own; peers whose names begin with 'far' are of another. */
class Trial {
  readonly asked: Request[] = [];
  readonly #planner = new SwarmPlanner({
    chunkCount: COUNT + 1,
    have: setOf(),
    held: setOf(),
    hub: false,
    startMs: 0,
    random: () => 0.4,
  });
  readonly #cancelled = new Set<number>();
  #nowMs = 0;
  #startMs = 0;

  up(peerId: string, have: ChunkSet): void {
    this.tell({ type: 'peerUp', peerId, near: !peerId.startsWith('far') });
    this.tell({ type: 'availability', peerId, have });
  }

  /** The tracker answers; undefined: it does not know who fetches what. */
  answer(crossings: readonly number[] | undefined): void {
    this.tell({ type: 'hubLease', indices: [], peersKnown: 2, crossings });
  }

  /** What the tracker would be asked for. */
  wanted(): readonly number[] {
    return this.#planner.crossingsWanted(this.#nowMs);
  }

  /** Chunks asked of peers of other zones, in order. */
  get crossed(): number[] {
    return this.asked.filter(({ peerId }) => peerId.startsWith('far')).map(({ index }) => index);
  }

  bring(index: number): void {
    const request = this.asked.findLast((each) => each.index === index);
    assert.ok(request, `nobody was asked for ${index}`);
    this.tell({ type: 'chunkDone', index, ticket: request.ticket });
  }

  isOpen({ ticket }: Request): boolean {
    return !this.#cancelled.has(ticket);
  }

  /** Both peers are linked, and the line to the other zone is found to be slow. */
  begin(near: ChunkSet, far: ChunkSet): this {
    this.up('near', setOf());
    this.up('far', setOf(PROBE));
    this.wait(LINE_SLOW_MS + TICK_MS);
    this.bring(PROBE);
    this.asked.splice(0);
    this.#startMs = this.#nowMs;
    this.tell({ type: 'availability', peerId: 'near', have: near });
    this.tell({ type: 'availability', peerId: 'far', have: far });
    return this;
  }

  /** `standing`: the chunk a reader waits for since the beginning. */
  wait(ms: number, standing?: number): void {
    for (const endMs = this.#nowMs + ms; this.#nowMs < endMs;) {
      this.#nowMs = Math.min(endMs, this.#nowMs + TICK_MS);
      const reader = { chunk: standing ?? 0, waitingSinceMs: this.#startMs, chunksPerSecond: 0 };
      this.tell({ type: 'readers', readers: standing === undefined ? [] : [reader] });
      this.tell({ type: 'tick' });
    }
  }

  tell(event: PlannerEvent): void {
    for (const command of this.#planner.handle(event, this.#nowMs)) this.#obey(command);
  }

  #obey(command: PlannerCommand): void {
    if (command.type === 'cancel') this.#cancelled.add(command.ticket);
    if (command.type !== 'fetchFromPeer') return;
    this.asked.push(command);
    this.tell({ type: 'started', ticket: command.ticket });
  }
}

/** With a neighbour that has some chunks and a peer of another zone that has all. */
function trialWith(...near: number[]): Trial {
  return new Trial().begin(setOf(...near), ALL);
}

describe('chunks of other zones', () => {
  it('are fetched when the tracker lets us, and no others', () => {
    const trial = trialWith(0, 1, 2, 3, 4, 10, 11, 12, 13, 14);
    assert.deepEqual(trial.crossed, [], 'before the tracker answered');
    assert.equal(trial.wanted().length, COUNT - 10, 'what the own zone lacks');
    trial.answer([7, 5]);
    assert.deepEqual(new Set(trial.crossed), new Set([5, 7]));
    trial.wait(TICK_MS * 4);
    assert.equal(trial.crossed.length, 2);
  });

  it('go on being asked of the tracker while they are on their way', () => {
    const trial = trialWith();
    trial.wanted();
    trial.answer([5]);
    assert.equal(trial.wanted()[0], 5);
    trial.bring(5);
    trial.wait(TICK_MS);
    assert.equal(trial.wanted().includes(5), false);
  });

  it('that others of the zone fetch are not asked for again at once', () => {
    const trial = trialWith();
    trial.wanted();
    trial.answer([]);
    assert.deepEqual(trial.wanted(), []);
    trial.wait(CROSSING_DECLINED_MS);
    assert.equal(trial.wanted().length, COUNT);
  });

  it('are asked for in the order in which they are read', () => {
    const trial = trialWith();
    trial.wait(TICK_MS, 30);
    assert.deepEqual(trial.wanted().slice(0, 11), [30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 0]);
  });

  it('are left to a neighbour that has them by now', () => {
    const trial = trialWith();
    trial.tell({ type: 'peerDown', peerId: 'far' });
    trial.wanted();
    trial.answer([5]);
    trial.tell({ type: 'availability', peerId: 'near', have: setOf(5) });
    trial.up('far-late', ALL);
    assert.deepEqual(trial.crossed, []);
    assert.equal(trial.asked.at(-1)?.peerId, 'near');
  });

  it('are ours no longer when we could not ask anybody in time', () => {
    const trial = new Trial().begin(setOf(), setOf(6));
    trial.wanted();
    trial.answer([5]);
    trial.wait(CROSSING_KEPT_MS + TICK_MS);
    trial.tell({ type: 'availability', peerId: 'far', have: ALL });
    assert.equal(trial.crossed.includes(5), false);
    assert.ok(trial.wanted().includes(5));
  });

  it('are fetched of another peer when the first is lost, however long it took', () => {
    const trial = trialWith();
    trial.wanted();
    trial.answer([5]);
    trial.up('far-too', ALL);
    trial.wait(CROSSING_KEPT_MS + TICK_MS);
    trial.tell({ type: 'peerDown', peerId: 'far' });
    assert.deepEqual(
      trial.asked.map(({ peerId }) => peerId),
      ['far', 'far-too'],
    );
  });

  it('are fetched freely when nobody knows who fetches what', () => {
    for (const event of ['hubDown', 'old hub'] as const) {
      const trial = trialWith(0);
      if (event === 'hubDown') trial.tell({ type: 'hubDown' });
      else trial.answer(undefined);
      assert.ok(trial.crossed.length > 1, event);
      assert.equal(trial.crossed.includes(0), false, 'but not what a neighbour has');
      assert.deepEqual(trial.wanted(), []);
    }
  });

  it('are fetched freely by who has no neighbour', () => {
    const trial = new Trial();
    trial.up('far', ALL);
    assert.ok(trial.crossed.length > 1);
    assert.deepEqual(trial.wanted(), []);
  });

  it('are fetched freely over a slow line, too, by who has lost its last neighbour', () => {
    const trial = trialWith(0);
    assert.deepEqual(trial.crossed, []);
    trial.tell({ type: 'peerDown', peerId: 'near' });
    trial.wait(TICK_MS);
    assert.ok(trial.crossed.length > 1);
    assert.deepEqual(trial.wanted(), []);
  });

  it('are fetched all the same when a reader stands at one for too long', () => {
    const trial = trialWith(0);
    for (let ms = 0; ms < PATIENCE_MAX_MS; ms += 1000) {
      if (ms < CROSSING_PATIENCE_MS) assert.deepEqual(trial.crossed, []);
      // A neighbour brings one chunk after the other meanwhile.
      trial.bring(ms / 1000);
      trial.wait(1000, COUNT - 1);
      trial.tell({ type: 'availability', peerId: 'near', have: setOf(ms / 1000 + 1) });
    }
    assert.deepEqual([...new Set(trial.crossed)], [COUNT - 1]);
  });

  it('at which a reader stood for too long are fetched whenever somebody has them', () => {
    const trial = new Trial().begin(setOf(0), setOf());
    for (let at = 0; at < (PATIENCE_MAX_MS + 2 * CROSSING_KEPT_MS) / 2000; at += 1) {
      trial.bring(at);
      trial.wait(2000, COUNT - 1);
      trial.tell({ type: 'availability', peerId: 'near', have: setOf(at + 1) });
    }
    trial.tell({ type: 'availability', peerId: 'far', have: setOf(COUNT - 1) });
    assert.deepEqual(trial.crossed, [COUNT - 1]);
  });

  it('are fetched all the same when nothing comes for too long', () => {
    const trial = trialWith();
    trial.wait(CROSSING_PATIENCE_MS - TICK_MS);
    assert.deepEqual(trial.crossed, []);
    trial.wait(PATIENCE_MAX_MS - CROSSING_PATIENCE_MS + 2 * TICK_MS);
    assert.ok(trial.crossed.length > 1);
  });

  it('have the time that a slow line takes before they are asked for again', () => {
    const trial = trialWith();
    trial.up('far-too', ALL);
    trial.wanted();
    trial.answer([5]);
    trial.wait((FAR_USUAL_START_MS - 500) * STALL_FACTOR);
    assert.deepEqual(trial.crossed, [5]);
    trial.wait(500 * STALL_FACTOR);
    assert.deepEqual(trial.crossed, [5, 5], 'of two peers, since one may be gone');
    trial.wait((FAR_USUAL_START_MS - 500) * STALL_FACTOR);
    assert.ok(
      trial.asked.every((request) => trial.isOpen(request)),
      'and none is broken off',
    );
  });

  it('are tried with one at first, and fetched freely over a quick line', () => {
    const trial = new Trial();
    trial.up('near', setOf());
    trial.up('far', ALL);
    assert.equal(trial.crossed.length, FAR_INFLIGHT_UNKNOWN);
    trial.wait(LINE_QUICK_MS - 1);
    trial.bring(trial.crossed[0] ?? 0);
    assert.ok(trial.crossed.length > 3);
    assert.deepEqual(trial.wanted(), [], 'to ask would take longer');
    trial.wait(LINE_SLOW_MS + TICK_MS);
    assert.ok(trial.wanted().length > 0, 'it has become slow');
  });

  it('that only a neighbour has who sends nothing are asked for', () => {
    const trial = trialWith(...Array.from({ length: COUNT }, (_, index) => index));
    assert.deepEqual(trial.wanted(), []);
    trial.wait(2 * STALL_MIN_MS);
    assert.ok(trial.wanted().length > COUNT / 2);
  });

  it('are fetched ever sooner without leave while nobody gives it', () => {
    const trial = trialWith();
    trial.wait(PATIENCE_MAX_MS / 2, 0);
    for (let ms = 0; ms < PATIENCE_MAX_MS && trial.crossed.length === 0; ms += TICK_MS) {
      trial.wait(TICK_MS, 0);
    }
    const first = [...new Set(trial.crossed)];
    assert.deepEqual(first.toSorted((a, b) => a - b).slice(0, 4), [0, 1, 2, 3]);
  });

  it('do not take the slow way twice because a reader stands', () => {
    const trial = trialWith();
    trial.up('far-too', ALL);
    trial.wait(URGENT_STOOD_MS, 5);
    trial.wanted();
    trial.answer([5]);
    trial.wait(STANDING_HEDGE_MS + TICK_MS, 5);
    assert.deepEqual(trial.crossed, [5]);
    trial.tell({ type: 'availability', peerId: 'near', have: setOf(5) });
    assert.equal(trial.asked.at(-1)?.peerId, 'near', 'a neighbour is asked at once');
  });
});
