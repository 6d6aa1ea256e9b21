import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { STALL_MIN_MS, TICK_MS } from './constants.ts';
import { SwarmPlanner } from './planner.ts';
import type { PlannerEvent } from './planner-port.ts';
import { UsualTimes } from './usual-times.ts';

const COUNT = 64;
const NONE = { size: COUNT, has: () => false };

describe('usual times', () => {
  it('of other zones are their own, and grow once at a time with what is overdue', () => {
    const usual = new UsualTimes();
    const near = usual.stallMs(false);
    assert.ok(usual.stallMs(true) > near);
    usual.farOverdue(usual.stallMs(true), 1000);
    const once = usual.stallMs(true);
    usual.farOverdue(once, 1000);
    assert.equal(usual.stallMs(true), once);
    usual.farOverdue(once, 2000);
    assert.ok(usual.stallMs(true) > once);
    assert.equal(usual.stallMs(false), near);
  });

  it('make no request wait longer that is on its way', () => {
    const options = { chunkCount: COUNT, have: NONE, held: NONE, startMs: 0, random: () => 0.4 };
    const planner = new SwarmPlanner({ ...options, hub: true });
    const ended: number[] = [];
    const tell = (event: PlannerEvent, nowMs: number): void => {
      for (const { type, ...rest } of planner.handle(event, nowMs)) {
        if (type === 'cancel') ended.push(nowMs);
        if ('index' in rest) tell({ type: 'started', ticket: rest.ticket }, nowMs);
      }
    };
    // A hub that takes requests and never answers.
    tell({ type: 'hubDown' }, 0);
    let nowMs = 0;
    for (; ended.length === 0 && nowMs < 120_000; nowMs += TICK_MS) {
      tell({ type: 'tick' }, nowMs);
    }
    assert.ok(nowMs <= 8 * STALL_MIN_MS, `the first was given up after ${nowMs} ms`);
  });
});
