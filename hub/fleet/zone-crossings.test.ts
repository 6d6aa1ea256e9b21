import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import {
  CROSSINGS_PER_MEMBER_MAX,
  CROSSINGS_PER_MEMBER_MIN,
  CROSSINGS_PER_ZONE_MIN,
  CROSSING_MAX_MS,
  LEASE_MS,
} from './constants.ts';
import { ZoneCrossings } from './zone-crossings.ts';

const MANY = Array.from({ length: 64 }, (_, index) => index);

function grant(zone: ZoneCrossings, peerId: string, wanted: number[], nowMs = 0): number[] {
  return zone.grant(peerId, wanted, { nowMs, isSought: () => true });
}

describe('the crossings of a zone', () => {
  it('give each chunk to one member, in the order of its wishes', () => {
    const zone = new ZoneCrossings();
    assert.deepEqual(grant(zone, 'a', [7, 3]), [7, 3]);
    assert.deepEqual(grant(zone, 'b', [3, 5, 7]), [5]);
    assert.deepEqual(grant(zone, 'a', [3, 7]), [3, 7], 'told again what is its own');
    assert.equal(zone.openOf('a'), 2);
  });

  it('leave out what nobody seeks', () => {
    const zone = new ZoneCrossings();
    const found = zone.grant('a', [1, 2, 3], { nowMs: 0, isSought: (index) => index === 2 });
    assert.deepEqual(found, [2]);
  });

  it('are few of one member, and few of all, until they turn out to be quick', () => {
    const zone = new ZoneCrossings();
    const members = Array.from({ length: 10 }, (_, at) => `m${at}`);
    const open = members.map((peerId) => grant(zone, peerId, MANY).length);
    assert.deepEqual(open.slice(0, 3), Array(3).fill(CROSSINGS_PER_MEMBER_MIN));
    assert.equal(
      open.reduce((sum, count) => sum + count),
      CROSSINGS_PER_ZONE_MIN,
    );
    for (const index of MANY) zone.arrived(index, 100);
    assert.equal(grant(zone, 'm0', MANY, 100).length, 2 * CROSSINGS_PER_MEMBER_MIN);
  });

  it('are free again when who has them does not ask for them any more, or is gone', () => {
    const zone = new ZoneCrossings();
    grant(zone, 'a', [1, 2]);
    grant(zone, 'a', [1], LEASE_MS - 1);
    assert.deepEqual(grant(zone, 'b', [1, 2], LEASE_MS), [2]);
    assert.deepEqual(grant(zone, 'b', [1], 2 * LEASE_MS - 1), [1]);
    assert.equal(zone.openOf('a'), 0);
    zone.leave('b');
    assert.deepEqual(grant(zone, 'c', [1], 2 * LEASE_MS), [1]);
  });

  it('are free again after a while, however long who has them asks for them', () => {
    const zone = new ZoneCrossings();
    for (let nowMs = 0; nowMs < CROSSING_MAX_MS; nowMs += 1000) grant(zone, 'a', [1], nowMs);
    assert.deepEqual(grant(zone, 'b', [1], CROSSING_MAX_MS - 1), []);
    assert.deepEqual(grant(zone, 'b', [1], CROSSING_MAX_MS), [1]);
  });

  it('leave room for others when those of a member are over', () => {
    const zone = new ZoneCrossings();
    for (let at = 0; at < 4; at += 1) grant(zone, `m${at}`, MANY);
    assert.deepEqual(grant(zone, 'late', MANY), []);
    assert.equal(grant(zone, 'late', MANY, LEASE_MS).length, CROSSINGS_PER_MEMBER_MIN);
  });

  it('never belong to two members, nor are they more than the most, whatever happens', () => {
    const step = fc.record({
      peer: fc.constantFrom('a', 'b', 'c', 'd'),
      what: fc.constantFrom('grant', 'grant', 'grant', 'arrived', 'leave', 'all'),
      chunks: fc.array(fc.nat(60), { maxLength: 60 }),
      waitMs: fc.nat(LEASE_MS),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const zone = new ZoneCrossings();
        const owner = new Map<number, { peer: string; fromMs: number; askedMs: number }>();
        let nowMs = 0;
        /** Each that ended well may have made room for one more. */
        let ended = 0;
        for (const { peer, what, chunks, waitMs } of steps) {
          nowMs += waitMs;
          if (what === 'arrived') {
            for (const index of chunks) zone.arrived(index, nowMs);
            for (const index of chunks) if (owner.delete(index)) ended += 1;
          } else if (what === 'all') {
            zone.arrivedAll(nowMs);
            ended += owner.size;
            owner.clear();
          } else if (what === 'leave') {
            zone.leave(peer);
            for (const [index, { peer: who }] of owner) if (who === peer) owner.delete(index);
          } else {
            for (const index of grant(zone, peer, chunks, nowMs)) {
              const known = owner.get(index) ?? { peer, fromMs: nowMs, askedMs: nowMs };
              const isOver =
                nowMs >= Math.min(known.askedMs + LEASE_MS, known.fromMs + CROSSING_MAX_MS);
              assert.ok(known.peer === peer || isOver, `${index} has two owners`);
              const fromMs = isOver ? nowMs : known.fromMs;
              owner.set(index, { peer, fromMs, askedMs: nowMs });
            }
          }
          const most = Math.min(CROSSINGS_PER_MEMBER_MAX, CROSSINGS_PER_MEMBER_MIN + ended);
          assert.ok(zone.openOf(peer) <= most);
        }
      }),
    );
  });
});
