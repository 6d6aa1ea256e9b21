import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import {
  CROSSINGS_PER_MEMBER_MIN,
  CROSSING_MISSED_MS,
  LEASE_RETRY_MS,
  TRACKER_LATE_MS,
} from './constants.ts';
import { SwarmZone } from './swarm-zone.ts';
import { Tracker } from './tracker.ts';
import type { BlobAnswer } from './tracker.ts';

const SIZE = 40 * 1024 ** 2;
const DIGEST = digestOf(Buffer.from('blob'));
const { chunkCount } = layoutOf(SIZE);

type Ask = {
  has?: readonly number[] | 'all';
  wants?: readonly number[];
  nowMs?: number;
  digest?: Digest;
};

/** Members are named after their zone: 'a1' and 'a2' are of zone 'a'. */
function announce(tracker: Tracker, peerId: string, ask: Ask): BlobAnswer {
  const { has = [], wants = [], nowMs = 0, digest = DIGEST } = ask;
  const have = has === 'all' ? undefined : new ChunkBitmap(chunkCount);
  if (has !== 'all') for (const index of has) have?.set(index);
  const wishes = { hubChunksWanted: 0, bypassWanted: 0, crossingsWanted: wants, leasable: true };
  const blobs = [{ digest, size: SIZE, have, ...wishes }];
  const zone = peerId.slice(0, 1);
  const [answer] = tracker.announce({ peerId, zone, full: false, blobs }, nowMs).blobs;
  assert.ok(answer);
  return answer;
}

describe('a chunk that another zone has', () => {
  it('is fetched by one member of a zone, whoever asks', () => {
    const tracker = new Tracker();
    announce(tracker, 'a1', { has: [4, 5] });
    assert.deepEqual(announce(tracker, 'b1', { wants: [5, 4] }).crossings, [5, 4]);
    assert.deepEqual(announce(tracker, 'b2', { wants: [4, 5] }).crossings, []);
    assert.deepEqual(announce(tracker, 'c1', { wants: [4] }).crossings, [4], 'its own zone counts');
  });

  it('is not fetched once the zone has it, nor while nobody has it', () => {
    const tracker = new Tracker();
    announce(tracker, 'a1', { has: [4, 5] });
    announce(tracker, 'b1', { has: [4] });
    assert.deepEqual(announce(tracker, 'b2', { wants: [4, 5, 6] }).crossings, [5]);
    announce(tracker, 'b3', { has: 'all' });
    assert.deepEqual(announce(tracker, 'b4', { wants: [6] }).crossings, []);
  });

  it('is fetched again when those of the zone that had it are gone', () => {
    const tracker = new Tracker();
    announce(tracker, 'a1', { has: 'all' });
    announce(tracker, 'b1', { has: [4] });
    announce(tracker, 'b2', { has: 'all' });
    tracker.forget('b2');
    assert.deepEqual(announce(tracker, 'b3', { wants: [4, 9] }).crossings, [9]);
    tracker.forget('b1');
    assert.deepEqual(announce(tracker, 'b3', { wants: [4] }).crossings, [4]);
  });

  it('is fetched by another when who was to fetch it falls silent or leaves', () => {
    const tracker = new Tracker();
    announce(tracker, 'a1', { has: [4] });
    announce(tracker, 'b1', { wants: [4] });
    announce(tracker, 'b2', { wants: [4] });
    tracker.forget('b1');
    assert.deepEqual(announce(tracker, 'b2', { wants: [4] }).crossings, [4]);
    const nowMs = TRACKER_LATE_MS * 3;
    announce(tracker, 'a1', { has: [4], nowMs });
    assert.deepEqual(announce(tracker, 'b3', { wants: [4], nowMs }).crossings, [4]);
  });

  it('leaves room for others when it is there, whoever brought it', () => {
    const all = Array.from({ length: chunkCount }, (_, index) => index);
    const tracker = new Tracker();
    announce(tracker, 'a1', { has: 'all' });
    const { crossings: first = [] } = announce(tracker, 'b1', { wants: all });
    assert.equal(first.length, CROSSINGS_PER_MEMBER_MIN);
    announce(tracker, 'b2', { has: first });
    const more = announce(tracker, 'b1', { has: first, wants: all }).crossings ?? [];
    assert.ok(more.length >= first.length && !more.some((index) => first.includes(index)));
  });

  it('is fetched all the same by who cannot get it in its zone', () => {
    const tracker = new Tracker();
    announce(tracker, 'a1', { has: 'all' });
    announce(tracker, 'b1', { has: 'all' });
    announce(tracker, 'b2', { wants: [4] });
    announce(tracker, 'b2', { wants: [4], nowMs: CROSSING_MISSED_MS / 2 });
    const nowMs = CROSSING_MISSED_MS;
    assert.deepEqual(announce(tracker, 'b3', { wants: [4], nowMs }).crossings, []);
    assert.deepEqual(announce(tracker, 'b2', { wants: [4], nowMs }).crossings, [4]);
  });

  it('is asked for long only where it is one of the same blob', () => {
    const tracker = new Tracker();
    const other = digestOf(Buffer.from('another blob'));
    for (const digest of [DIGEST, other]) {
      announce(tracker, 'a1', { has: [4], digest });
      announce(tracker, 'b1', { has: [4], digest });
    }
    announce(tracker, 'b2', { wants: [4] });
    const ask = { wants: [4], nowMs: CROSSING_MISSED_MS };
    assert.deepEqual(announce(tracker, 'b2', { ...ask, digest: other }).crossings, []);
    assert.deepEqual(announce(tracker, 'b2', ask).crossings, [4]);
  });

  it('cannot be one the blob does not have', () => {
    const tracker = new Tracker();
    announce(tracker, 'a1', { has: 'all' });
    assert.deepEqual(announce(tracker, 'b1', { wants: [chunkCount, 16_383] }).crossings, []);
  });

  it('has who fetches it tell soon how that went', () => {
    const tracker = new Tracker();
    const members = Array.from({ length: 12 }, (_, at) => `b${at}`);
    for (const peerId of members) announce(tracker, peerId, {});
    announce(tracker, 'a1', { has: [4] });
    assert.ok(announce(tracker, 'b1', {}).retryAfterMs > LEASE_RETRY_MS);
    assert.equal(announce(tracker, 'b1', { wants: [4] }).retryAfterMs, LEASE_RETRY_MS);
    announce(tracker, 'b9', { has: 'all' });
    assert.ok(announce(tracker, 'b1', {}).retryAfterMs > LEASE_RETRY_MS, 'it is all there');
  });
});

describe('what a tracker does not take in', () => {
  it('has nobody who knows who fetches what', () => {
    const limits = { pairsMax: 1 };
    const tracker = new Tracker({ limits });
    announce(tracker, 'a1', { has: [4] });
    assert.equal('crossings' in announce(tracker, 'b1', { wants: [4] }), false);
  });

  it('is charged the table of a zone with its first member', () => {
    const tracker = new Tracker();
    announce(tracker, 'a1', {});
    const one = tracker.stats.bytes;
    announce(tracker, 'a2', {});
    const two = tracker.stats.bytes - one;
    announce(tracker, 'b1', {});
    const zoneBytes = SwarmZone.tableBytes(layoutOf(SIZE));
    assert.equal(tracker.stats.bytes - one - two, two + zoneBytes);
    for (const peerId of ['a1', 'a2', 'b1']) tracker.forget(peerId);
    assert.equal(tracker.stats.bytes, 0);
  });
});
