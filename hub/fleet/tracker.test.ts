import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { ANNOUNCE_PEERS_MAX } from '../../proto/hubapi/constants.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import {
  ANNOUNCE_ACTIVE_MS,
  ANNOUNCE_IDLE_MS,
  BYPASS_WINDOW_MS,
  LEASES_PER_MEMBER_MAX,
  LEASE_MS,
  TRACKER_LATE_MS,
  TRACKER_SWEEP_MS,
  TRACKER_TTL_MS,
} from './constants.ts';
import { Tracker, type BlobAnswer } from './tracker.ts';

const MIB = 1024 ** 2;
const SIZE = 40 * MIB - 5;
const { chunkCount } = layoutOf(SIZE);
const blob = digestOf(Buffer.from('blob'));

/** Repeatable numbers in [0, 1) (mulberry32). */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const NINE = { hubChunksWanted: 9, bypassWanted: 9, crossingsWanted: [], leasable: true };

type Ask = {
  peerId: string;
  have?: ChunkBitmap | undefined;
  wanted?: number;
  bypassWanted?: number;
  leasable?: boolean;
  digest?: Digest;
  zone?: string;
  full?: boolean;
  ready?: number;
};

function announce(tracker: Tracker, ask: Ask, nowMs: number): BlobAnswer {
  const { peerId, wanted = 0, bypassWanted = 0, digest = blob, zone = '', full = false } = ask;
  const have = 'have' in ask ? ask.have : new ChunkBitmap(chunkCount);
  const { leasable = true, ready } = ask;
  const asked = { hubChunksWanted: wanted, bypassWanted, crossingsWanted: [], leasable };
  const blobs = [{ digest, size: SIZE, have, ...asked, ready }];
  const [answer] = tracker.announce({ peerId, zone, full, blobs }, nowMs).blobs;
  assert.ok(answer);
  return answer;
}

function holding(...indices: number[]): ChunkBitmap {
  const bitmap = new ChunkBitmap(chunkCount);
  for (const index of indices) bitmap.set(index);
  return bitmap;
}

type Step = { peer: number; wanted: number; progress: number; waitMs: number; silent: boolean };

const STEPS = fc.array(
  fc.record({
    peer: fc.nat(5),
    wanted: fc.nat(LEASES_PER_MEMBER_MAX),
    progress: fc.nat(6),
    waitMs: fc.oneof(fc.nat(400), fc.nat(LEASE_MS * 2)),
    silent: fc.boolean(),
  }),
  { maxLength: 80 },
);

/** Runs the steps and calls `check` for every chunk the tracker leases. */
function play(steps: Step[], check: (index: number, peer: number, world: World) => void): void {
  const tracker = new Tracker({ random: seededRandom(steps.length) });
  const world: World = { have: Array.from({ length: 6 }, () => holding()), leases: new Map() };
  let nowMs = 0;
  for (const { peer, wanted, progress, waitMs, silent } of steps) {
    nowMs += waitMs;
    if (silent) continue;
    const have = world.have[peer] ?? holding();
    const mine = [...world.leases].filter(([, lease]) => lease.peer === peer);
    for (const [index] of mine.slice(0, progress)) have.set(index);
    for (const [index, lease] of mine) {
      if (progress > 0) lease.endMs = Math.max(lease.endMs, nowMs + LEASE_MS);
      if (have.has(index)) world.leases.delete(index);
    }
    for (const [index, lease] of world.leases) {
      if (lease.endMs <= nowMs) world.leases.delete(index);
    }
    const { hubChunks } = announce(
      tracker,
      { peerId: `p${peer}`, have: have.clone(), wanted },
      nowMs,
    );
    for (const index of hubChunks) {
      check(index, peer, world);
      world.leases.set(index, { peer, endMs: nowMs + LEASE_MS });
    }
  }
}
type World = { have: ChunkBitmap[]; leases: Map<number, { peer: number; endMs: number }> };

test('a chunk is never leased while its lease lives or a member has announced it', () => {
  fc.assert(
    fc.property(STEPS, (steps) => {
      play(steps, (index, peer, world) => {
        assert.ok(!world.leases.has(index), `chunk ${index} twice, again to ${peer}`);
        assert.ok(!world.have.some((have) => have.has(index)), `chunk ${index} is held`);
      });
    }),
    { numRuns: 400 },
  );
});

test('a thousand agents that start whenever they like take one copy from the hub', () => {
  for (const [agents, spreadMs] of [
    [8, 0],
    [8, 3000],
    [300, 0],
    [300, 10_000],
  ] as const) {
    const random = seededRandom(agents + spreadMs);
    const tracker = new Tracker({ random });
    const have = Array.from({ length: agents }, () => holding());
    const starts = have.map(() => Math.floor(random() * spreadMs));
    let leased = 0;
    let nowMs = 0;
    for (; have.some((map) => !map.complete); nowMs += 100) {
      assert.ok(nowMs < 120_000, 'no end in sight');
      for (const [i, map] of have.entries()) {
        if (nowMs < (starts[i] ?? 0) || (nowMs + i) % 500 >= 100) continue;
        const ask = { peerId: `p${i}`, have: map.clone(), wanted: map.complete ? 0 : 4 };
        const { hubChunks, peers } = announce(tracker, ask, nowMs);
        leased += hubChunks.length;
        for (const index of hubChunks) map.set(index);
        // One round of the swarm: from each peer one chunk that we miss, if it has any.
        for (const peer of peers) {
          const theirs = have[Number(peer.slice(1))];
          const next = [...map.missing()].find((index) => theirs?.has(index) === true);
          if (next !== undefined) map.set(next);
        }
      }
    }
    const copies = leased / chunkCount;
    assert.ok(copies <= 1.02, `${agents} agents over ${spreadMs} ms took ${copies} copies`);
  }
});

test('what a dead member had on lease goes to another one after the lease', () => {
  const tracker = new Tracker();
  let leased = 0;
  for (let dead = 0; leased < chunkCount; dead += 1) {
    leased += announce(tracker, { peerId: `dead${dead}`, wanted: 64 }, 0).hubChunks.length;
  }
  assert.deepEqual(announce(tracker, { peerId: 'alive', wanted: 64 }, LEASE_MS - 1).hubChunks, []);
  const after = announce(tracker, { peerId: 'alive', wanted: 64 }, LEASE_MS);
  assert.ok(after.hubChunks.length > 0);
});

test('what only a dead member held is leased again when it has been silent long enough', () => {
  const tracker = new Tracker();
  announce(tracker, { peerId: 'dead', have: undefined }, 0);
  assert.deepEqual(announce(tracker, { peerId: 'alive', wanted: 64 }, 1000).hubChunks, []);
  tracker.sweep(TRACKER_TTL_MS - 1);
  assert.deepEqual(announce(tracker, { peerId: 'alive', wanted: 64 }, 1000).hubChunks, []);
  tracker.sweep(TRACKER_TTL_MS);
  assert.ok(announce(tracker, { peerId: 'alive', wanted: 64 }, TRACKER_TTL_MS).hubChunks.length);
});

test('what only a downloading member held is leased again soon after it fell silent', () => {
  const tracker = new Tracker();
  const all = holding(...Array.from({ length: chunkCount - 1 }, (_, index) => index));
  const { retryAfterMs } = announce(tracker, { peerId: 'dead', have: all, wanted: 0 }, 0);
  const lateMs = Math.max(retryAfterMs, ANNOUNCE_ACTIVE_MS) + TRACKER_LATE_MS;
  assert.ok(lateMs < TRACKER_TTL_MS / 2);
  for (let nowMs = 0; nowMs < lateMs; nowMs += TRACKER_SWEEP_MS) tracker.sweep(nowMs);
  const missing = announce(tracker, { peerId: 'alive', wanted: 64 }, lateMs - 1).hubChunks;
  assert.deepEqual(missing, [chunkCount - 1]);
  tracker.sweep(lateMs);
  const { hubChunks, peers } = announce(tracker, { peerId: 'alive', wanted: 64 }, lateMs);
  assert.ok(hubChunks.length > 0);
  assert.deepEqual(peers, []);
  // It was only slow.
  announce(tracker, { peerId: 'dead', have: all, wanted: 0 }, lateMs + 1);
  assert.deepEqual(announce(tracker, { peerId: 'third', wanted: 64 }, lateMs + 2).hubChunks, []);
});

test('a member that has a part of a blob and does not fetch is kept until it announces', () => {
  const tracker = new Tracker();
  const all = holding(...Array.from({ length: chunkCount - 1 }, (_, index) => index));
  announce(tracker, { peerId: 'idle', have: all, full: true }, 0);
  for (let nowMs = 0; nowMs < ANNOUNCE_IDLE_MS; nowMs += TRACKER_SWEEP_MS) tracker.sweep(nowMs);
  const { hubChunks } = announce(tracker, { peerId: 'new', wanted: 64 }, ANNOUNCE_IDLE_MS - 1);
  assert.deepEqual(hubChunks, [chunkCount - 1]);
});

test('a pause of the hub itself takes nobody for gone', () => {
  const tracker = new Tracker();
  const all = holding(...Array.from({ length: chunkCount - 1 }, (_, index) => index));
  tracker.sweep(0);
  announce(tracker, { peerId: 'a', have: all, wanted: 64 }, 0);
  tracker.sweep(2 * TRACKER_LATE_MS);
  const { hubChunks } = announce(tracker, { peerId: 'b', wanted: 64 }, 2 * TRACKER_LATE_MS);
  assert.ok(hubChunks.every((index) => index === chunkCount - 1));
});

test('a lease lives on while its holder makes progress, and only then', () => {
  const tracker = new Tracker();
  const leases = announce(tracker, { peerId: 'slow', wanted: 64 }, 0).hubChunks;
  const [first = 0, second = 0] = leases;
  const rest = holding(...Array.from({ length: chunkCount }, (_, index) => index));
  for (const index of leases) rest.clear(index);
  announce(tracker, { peerId: 'holder', have: rest }, 0);
  announce(tracker, { peerId: 'slow', have: holding(first) }, 4000);
  announce(tracker, { peerId: 'slow', have: holding(first, second) }, 8000);
  assert.deepEqual(announce(tracker, { peerId: 'other', wanted: 64 }, 12_000).hubChunks, []);
  announce(tracker, { peerId: 'slow', have: holding(first, second) }, 12_500);
  const { hubChunks } = announce(tracker, { peerId: 'other', wanted: 64 }, 13_000);
  assert.ok(hubChunks.length > 0 && !hubChunks.includes(first) && !hubChunks.includes(second));
});

test('a full announcement drops what is not in it', () => {
  const tracker = new Tracker();
  const other = digestOf(Buffer.from('other'));
  announce(tracker, { peerId: 'a', have: undefined }, 0);
  announce(tracker, { peerId: 'a', digest: other, full: true }, 1);
  assert.equal(tracker.stats.digests, 1);
  assert.deepEqual(announce(tracker, { peerId: 'b' }, 2).peers, []);
});

test('the peers of an answer never hold the asker, are bounded, and mix zones and holders', () => {
  const tracker = new Tracker({ random: seededRandom(4) });
  for (let i = 0; i < 300; i++) {
    const zone = i % 2 === 0 ? 'near' : 'far';
    announce(tracker, { peerId: `part-${zone}-${i}`, zone }, 0);
  }
  for (let i = 0; i < 100; i++) announce(tracker, { peerId: `whole-${i}`, have: undefined }, 0);
  const { peers } = announce(tracker, { peerId: 'part-near-0', zone: 'near' }, 1);
  const count = (prefix: string): number => peers.filter((id) => id.startsWith(prefix)).length;
  assert.equal(peers.length, ANNOUNCE_PEERS_MAX);
  assert.equal(new Set(peers).size, peers.length);
  assert.ok(!peers.includes('part-near-0'));
  assert.ok(count('part-far') >= 4 && count('whole') >= 4, peers.join());
  assert.ok(count('part-near') > count('part-far'), peers.join());
});

test('every member is told about sooner or later', () => {
  const tracker = new Tracker({ random: seededRandom(9) });
  for (let i = 0; i < 200; i++) announce(tracker, { peerId: `p${i}` }, 0);
  const seen = new Set<string>();
  for (let i = 0; i < 200; i++) {
    for (const peer of announce(tracker, { peerId: 'asker' }, 1).peers) seen.add(peer);
  }
  assert.equal(seen.size, 200);
});

test('a member that tells another size gets nothing and disturbs nobody', () => {
  const tracker = new Tracker();
  announce(tracker, { peerId: 'a', wanted: 4 }, 0);
  const wrong = { digest: blob, size: SIZE + MIB, have: undefined, ...NINE };
  const answer = tracker.announce({ peerId: 'b', zone: '', full: false, blobs: [wrong] }, 1);
  assert.deepEqual(answer.blobs[0]?.hubChunks, []);
  assert.deepEqual(answer.blobs[0]?.peers, []);
  assert.equal(announce(tracker, { peerId: 'a', wanted: 4 }, 2).peers.length, 0);
});

test('a member that lies about a size does not keep the others apart', () => {
  const tracker = new Tracker();
  const announced = { digest: blob, size: SIZE + MIB, have: undefined, ...NINE };
  tracker.announce({ peerId: 'liar', zone: '', full: false, blobs: [announced] }, 0);
  announce(tracker, { peerId: 'a' }, 1);
  assert.deepEqual(announce(tracker, { peerId: 'b' }, 2).peers, ['a']);
});

test('a member that announces whatever comes to its mind leaves room for the others', () => {
  const tracker = new Tracker({ limits: { bitmapMaxBytes: 8000, bytesPerMemberMax: 1000 } });
  for (let i = 0; i < 50; i++) {
    announce(tracker, { peerId: 'liar', digest: digestOf(Buffer.from(`${i}`)) }, 0);
  }
  assert.ok(tracker.stats.bytes <= 1000);
  announce(tracker, { peerId: 'a' }, 1);
  assert.deepEqual(announce(tracker, { peerId: 'b' }, 2).peers, ['a']);
  tracker.announce({ peerId: 'liar', zone: '', full: true, blobs: [] }, 3);
  assert.deepEqual(announce(tracker, { peerId: 'liar' }, 4).peers.toSorted(), ['a', 'b']);
  assert.equal(tracker.stats.pairs, 3);
});

test('tables stay within their limits, and empty when everybody has left', () => {
  const limits = { digestsMax: 5, pairsMax: 12, digestsPerMemberMax: 4, bitmapMaxBytes: 2500 };
  const tracker = new Tracker({ limits });
  const step = fc.record({ peer: fc.nat(9), digest: fc.nat(9), full: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      for (const { peer, digest, full } of steps) {
        const ask = { peerId: `p${peer}`, digest: digestOf(Buffer.of(digest)), full, wanted: 3 };
        announce(tracker, ask, 0);
        const { digests, pairs, bytes } = tracker.stats;
        assert.ok(digests <= 5 && pairs <= 12 && bytes <= 2500);
      }
    }),
  );
  tracker.sweep(TRACKER_TTL_MS);
  assert.deepEqual(tracker.stats, { members: 0, digests: 0, pairs: 0, leases: 0, bytes: 0 });
});

test('blobs too small for chunks get peers and no leases', () => {
  const tracker = new Tracker();
  const small = { digest: blob, size: 100, ...NINE };
  const holder = { ...small, have: undefined };
  tracker.announce({ peerId: 'a', zone: '', full: false, blobs: [holder] }, 0);
  const asker = { ...small, have: new ChunkBitmap(0) };
  const { blobs } = tracker.announce({ peerId: 'b', zone: '', full: false, blobs: [asker] }, 1);
  assert.deepEqual(blobs[0]?.peers, ['a']);
  assert.deepEqual(blobs[0]?.hubChunks, []);
});

test('beside the leases a part of a blob may be taken at a time, by all together', () => {
  const tracker = new Tracker({ sourceBytesPerSecond: 1000 * MIB });
  const take = (peerId: string, nowMs: number): number =>
    announce(tracker, { peerId, bypassWanted: 6 }, nowMs).bypassChunks;
  const first = ['a', 'b', 'c', 'd'].map((peerId) => take(peerId, 0));
  assert.deepEqual(first, [6, 6, 4, 0]);
  assert.equal(take('d', BYPASS_WINDOW_MS - 1), 0);
  assert.equal(take('d', BYPASS_WINDOW_MS), 6);
});

test('what is not leased is taken at the rate that all blobs share', () => {
  const tracker = new Tracker({ sourceBytesPerSecond: 2 * MIB });
  const take = (digest: Digest, nowMs: number): number => {
    const ask = { peerId: 'a', digest, bypassWanted: 64, crossingsWanted: [], leasable: false };
    return announce(tracker, ask, nowMs).bypassChunks;
  };
  const other = digestOf(Buffer.from('other'));
  assert.equal(take(blob, 0), 4);
  assert.equal(take(other, 0), 0);
  assert.equal(take(other, 1000), 2);
});

test('a large blob leaves a small one its share of the leases', () => {
  const tracker = new Tracker({ random: seededRandom(3) });
  const size = 2000 * MIB;
  const large = digestOf(Buffer.from('large'));
  const lease = (peerId: string): number => {
    const have = new ChunkBitmap(layoutOf(size).chunkCount);
    const rest = { ...NINE, bypassWanted: 0, hubChunksWanted: LEASES_PER_MEMBER_MAX };
    const blobs = [{ digest: large, size, have, ...rest }];
    const [answer] = tracker.announce({ peerId, zone: '', full: false, blobs }, 0).blobs;
    return answer?.hubChunks.length ?? Number.NaN;
  };
  const taken = Array.from({ length: 17 }, (_, at) => lease(`large-${at}`));
  assert.equal(taken.at(-1), 0, 'the hub is busy with the large one');
  const small = Array.from({ length: 8 }, (_, at) =>
    announce(tracker, { peerId: `small-${at}`, wanted: LEASES_PER_MEMBER_MAX }, 0),
  ).flatMap(({ hubChunks }) => hubChunks);
  assert.ok(small.length >= 16, `${small.length} leases for the small one`);
  assert.equal(lease('large-late'), 0);
});

test('for a tracker that cannot be asked another gives little, out of the common budget', () => {
  const tracker = new Tracker({ sourceBytesPerSecond: 8 * MIB });
  const have = new ChunkBitmap(chunkCount);
  const ask = { ...NINE, digest: blob, size: SIZE, have, bypassWanted: 4 };
  const take = (leasable: boolean) => tracker.standIn({ ...ask, leasable }, 0);
  const given = Array.from({ length: 20 }, () => take(true));
  assert.deepEqual([given[0], given.at(-1)], [1, 0]);
  assert.equal(
    given.reduce((sum, count) => sum + count),
    16,
  );
  assert.equal(take(false), 0);
  assert.equal(tracker.standIn({ ...ask, size: 1, leasable: true }, 9000), 0);
  assert.equal(tracker.standIn({ ...ask, leasable: false }, 9000), 4);
  assert.equal(tracker.stats.digests, 0);
});

test('of chunks that are still to come, one fast member gets no more than its share', () => {
  const tracker = new Tracker();
  for (const peerId of ['b', 'c', 'd', 'e']) announce(tracker, { peerId, ready: 0 }, 0);
  const have = holding();
  const leased: number[] = [];
  for (let ready = 0; ready < 20; ready += 2) {
    // It has all that has come, at once, and asks for as much as it may.
    for (const index of leased) if (index < ready) have.set(index);
    const ask = { peerId: 'a', have: have.clone(), wanted: 64, ready };
    leased.push(...announce(tracker, ask, ready * 10).hubChunks);
    const ahead = leased.filter((index) => index >= ready && !have.has(index));
    assert.ok(ahead.length <= 4, `${ahead.length} of chunks to come, ${ready} are here`);
  }
  const other = announce(tracker, { peerId: 'b', wanted: 64, ready: 20 }, 200);
  assert.equal(other.hubChunks.length, 4);
});
