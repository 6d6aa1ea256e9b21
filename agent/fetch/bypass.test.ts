import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BYPASS_CREDITS_MAX, STARVED_LONG_MS } from './constants.ts';
import { SwarmPlanner } from './planner.ts';
import type { PlannerCommand, PlannerEvent } from './planner-port.ts';

const COUNT = 800;
/** A download with a silent peer has starved for sure by then. */
const STARVED_MS = 6_000;

/** A planner with one peer that holds everything, and a tracker that leases nothing. */
class Trial {
  readonly #planner = new SwarmPlanner({
    chunkCount: COUNT,
    have: { size: COUNT, has: () => false },
    held: { size: COUNT, has: () => false },
    hub: true,
    startMs: 0,
    random: () => 0.5,
  });
  readonly hubTickets: { ticket: number; index: number }[] = [];
  readonly peerTickets: { ticket: number; index: number }[] = [];
  wished = 0;

  constructor() {
    this.tell({ type: 'peerUp', peerId: 'a' }, 0);
    this.tell({ type: 'availability', peerId: 'a', have: { size: COUNT, has: () => true } }, 0);
  }

  tell(event: PlannerEvent, nowMs: number): PlannerCommand[] {
    const commands = this.#planner.handle(event, nowMs);
    for (const command of commands) {
      if (command.type === 'fetchFromHub') this.hubTickets.push(command);
      else if (command.type === 'fetchFromPeer') this.peerTickets.push(command);
      else if (command.type === 'askHubLease') this.wished = command.bypass;
      if ('ticket' in command && command.type !== 'cancel') {
        this.tell({ type: 'started', ticket: command.ticket }, nowMs);
      }
    }
    return commands;
  }

  allow(bypass: number | undefined, nowMs: number): void {
    this.wished = 0;
    this.tell({ type: 'hubLease', indices: [], peersKnown: 1, bypass }, nowMs);
  }

  ticks(fromMs: number, toMs: number): void {
    for (let at = fromMs; at < toMs; at += 250) this.tell({ type: 'tick' }, at);
  }

  /** The peer brings a chunk every `everyMs`. */
  bring(fromMs: number, toMs: number, everyMs: number): void {
    for (let at = fromMs; at < toMs; at += everyMs) {
      const next = this.peerTickets.shift();
      if (next !== undefined) this.tell({ ...next, type: 'chunkDone' }, at);
      this.tell({ type: 'tick' }, at);
    }
  }
}

describe('what a download takes from the hub without a lease', () => {
  it('is nothing without the budget of the fleet, and one at a time after long', () => {
    const trial = new Trial();
    trial.allow(0, 0);
    trial.ticks(0, STARVED_LONG_MS);
    assert.equal(trial.hubTickets.length, 0);
    assert.ok(trial.wished > 0, 'asks for a part of the budget');
    trial.ticks(STARVED_LONG_MS, STARVED_LONG_MS + 500);
    assert.equal(trial.hubTickets.length, 1);
  });

  it('is as much as the budget allows, and no more', () => {
    const trial = new Trial();
    trial.allow(0, 0);
    trial.ticks(0, STARVED_MS);
    trial.allow(3, STARVED_MS);
    for (let at = STARVED_MS; at < STARVED_LONG_MS; at += 250) {
      for (const { ticket, index } of trial.hubTickets) {
        trial.tell({ type: 'chunkDone', ticket, index }, at);
      }
      trial.tell({ type: 'tick' }, at);
    }
    assert.equal(new Set(trial.hubTickets.map(({ ticket }) => ticket)).size, 3);
  });

  it('helps out peers that are far slower than the hub, and no others', () => {
    for (const [everyMs, isHelped] of [
      [1_000, true],
      [20, false],
    ] as const) {
      const trial = new Trial();
      trial.tell({ type: 'peerDown', peerId: 'a' }, 0);
      trial.tell({ type: 'hubLease', indices: [1, 2], peersKnown: 1, bypass: 0 }, 0);
      for (const request of trial.hubTickets) trial.tell({ ...request, type: 'chunkDone' }, 100);
      trial.tell({ type: 'peerUp', peerId: 'a' }, 100);
      const have = { size: COUNT, has: () => true };
      trial.tell({ type: 'availability', peerId: 'a', have }, 100);
      trial.bring(200, 8_000, everyMs);
      assert.equal(trial.wished, isHelped ? BYPASS_CREDITS_MAX : 0, `every ${everyMs} ms`);
      const before = trial.hubTickets.length;
      trial.allow(4, 8_000);
      assert.equal(trial.hubTickets.length > before, isHelped);
    }
  });

  it('is bounded by this agent alone with a hub that keeps no budget', () => {
    const trial = new Trial();
    trial.allow(undefined, 0);
    trial.ticks(0, STARVED_MS);
    assert.equal(trial.hubTickets.length, 2);
  });
});
