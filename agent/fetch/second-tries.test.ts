import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GAIN_DUPLICATES_PART, STANDING_HEDGE_MS, URGENT_STOOD_MS } from './constants.ts';
import { Flights } from './flights.ts';
import { SwarmPlanner } from './planner.ts';
import type { PlannerEvent, ReaderState } from './planner-port.ts';
import { SecondTries } from './second-tries.ts';

const COUNT = 100;
const USUAL_MS = 40;
const TICK_MS = 20;

type Request = { ticket: number; index: number; peerId: string; askedMs: number };

/** Two peers that hold everything and bring each chunk in the usual time, but for some. */
class Trial {
  readonly asked = new Map<number, Request[]>();
  readonly landed = new Set<number>();
  readonly #planner = new SwarmPlanner({
    chunkCount: COUNT,
    have: { size: COUNT, has: () => false },
    held: { size: COUNT, has: () => false },
    hub: false,
    startMs: 0,
    random: () => 0.4,
  });
  readonly #open = new Map<number, Request>();
  readonly #isSlow: (request: Request) => boolean;
  #nowMs = 0;

  /** `isSlow`: a request that never ends. */
  constructor(isSlow: (request: Request) => boolean) {
    this.#isSlow = isSlow;
    for (const peerId of ['a', 'b']) {
      this.#tell({ type: 'peerUp', peerId });
      this.#tell({ type: 'availability', peerId, have: { size: COUNT, has: () => true } });
    }
  }

  get repeats(): number {
    return [...this.asked.values()].reduce((sum, requests) => sum + requests.length - 1, 0);
  }

  run(toMs: number, readers: (nowMs: number) => ReaderState[]): void {
    for (; this.#nowMs < toMs; this.#nowMs += TICK_MS) {
      for (const request of this.#open.values()) {
        if (this.#isSlow(request) || this.#nowMs - request.askedMs < USUAL_MS) continue;
        const { ticket, index } = request;
        this.#open.delete(ticket);
        this.landed.add(index);
        this.#tell({ type: 'chunkDone', ticket, index });
      }
      this.#tell({ type: 'readers', readers: readers(this.#nowMs) });
      this.#tell({ type: 'tick' });
    }
  }

  #tell(event: PlannerEvent): void {
    for (const command of this.#planner.handle(event, this.#nowMs)) {
      if (command.type === 'cancel') this.#open.delete(command.ticket);
      if (command.type !== 'fetchFromPeer') continue;
      const request = { ...command, askedMs: this.#nowMs };
      this.#open.set(request.ticket, request);
      this.asked.set(request.index, [...(this.asked.get(request.index) ?? []), request]);
      this.#tell({ type: 'started', ticket: request.ticket });
    }
  }
}

const isFirst = ({ ticket }: Request): boolean => ticket === 1;

describe('second requests', () => {
  it('bring a chunk that blocks a reader when the first takes longer than nearly all do', () => {
    const trial = new Trial(isFirst);
    const [chunk = 0] = trial.asked.keys();
    trial.run(600, () => [{ chunk, waitingSinceMs: 0, chunksPerSecond: 0 }]);
    const asked = trial.asked.get(chunk)?.map(({ peerId }) => peerId);
    assert.deepEqual(asked?.toSorted(), ['a', 'b']);
    assert.ok(trial.landed.has(chunk));
  });

  it('are not made for a slow chunk that blocks nobody while there is more to ask for', () => {
    const trial = new Trial(isFirst);
    const [chunk = 0] = trial.asked.keys();
    trial.run(300, () => []);
    assert.ok(trial.asked.size < COUNT);
    assert.equal(trial.asked.get(chunk)?.length, 1);
  });

  it('at the end are made for what is slow, and never for more than their part of all', () => {
    const trial = new Trial(({ peerId, askedMs }) => peerId === 'a' && askedMs > 0);
    trial.run(1_900, () => []);
    assert.equal(trial.asked.size, COUNT);
    assert.equal(trial.repeats, COUNT * GAIN_DUPLICATES_PART);
  });

  it('are made of a chunk at which a reader stands for long, however many there were', () => {
    const tries = new SecondTries({ chunkCount: 2, startMs: 100 });
    const flights = new Flights(2);
    const [blocking, other] = [flights.add(0, 'slow', false), flights.add(1, 'slow', false)];
    const readers = [{ chunk: 0, waitingSinceMs: 0, chunksPerSecond: 0 }];
    const hedge = (nowMs: number): void => tries.hedge(flights, { readers, urgent: [] }, nowMs);
    blocking.startedMs = URGENT_STOOD_MS;
    other.startedMs = 0;
    hedge(URGENT_STOOD_MS + STANDING_HEDGE_MS - 1);
    assert.equal(blocking.hedged, false, 'it has its time too');
    hedge(URGENT_STOOD_MS + STANDING_HEDGE_MS);
    assert.deepEqual([blocking.hedged, other.hedged], [true, false]);
    assert.deepEqual([...flights.reopened], [0]);
  });
});
