import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import type { BlobAnswer, DeskAnswer } from '../fleet/tracker.ts';
import { AWAY_RETRY_MS } from './constants.ts';
import { CHUNKS, TestReplicas, wish } from './replicas-fixture.ts';

test('members of different hubs hear of each other, with certificates', async (t) => {
  const fleet = new TestReplicas(t);
  const [a, b, c] = await fleet.start('a', 'b', 'c');
  assert.ok(a && b && c);
  const [digest] = fleet.digestsOf('c', 1);
  assert.ok(digest);
  await a.announce('ann', [wish(digest)]);
  const { blobs, certificates } = await b.announce('ben', [wish(digest)]);
  assert.deepEqual(blobs[0]?.peers, ['ann']);
  assert.equal(certificates?.get('ann'), a.members.get('ann'));
  assert.deepEqual(
    [a, b, c].map(({ tracker }) => tracker.stats.digests),
    [0, 0, 1],
  );
});

test('a chunk is leased once, whichever hubs are asked', async (t) => {
  const fleet = new TestReplicas(t);
  const hubs = await fleet.start('a', 'b');
  const digests = [...fleet.digestsOf('a', 2), ...fleet.digestsOf('b', 2)];
  const leased = new Set<string>();
  let count = 0;
  for (let i = 0; i < 8; i += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one member after the other
    const answer = await hubs[i % 2]?.announce(
      `member-${i}`,
      digests.map((each) => wish(each)),
    );
    for (const { digest, hubChunks } of answer?.blobs ?? []) {
      for (const chunk of hubChunks) leased.add(`${digest} ${chunk}`);
      count += hubChunks.length;
    }
  }
  assert.equal(leased.size, count);
  assert.ok(count >= digests.length * 4, `${count} chunks leased`);
});

test('a chunk crosses into a zone once, whichever hubs its members ask', async (t) => {
  const fleet = new TestReplicas(t);
  const [a, b] = await fleet.start('a', 'b');
  assert.ok(a && b);
  const have = new ChunkBitmap(CHUNKS);
  for (const index of [2, 3]) have.set(index);
  for (const digest of [...fleet.digestsOf('a', 1), ...fleet.digestsOf('b', 1)]) {
    const blobs = [wish(digest, { crossingsWanted: [3, 2] })];
    // oxlint-disable no-await-in-loop -- one announcement after the other
    await a.announce('ann', [wish(digest, { have })], { zone: 'near' });
    const first: DeskAnswer = await b.announce('bo', blobs, { zone: 'far' });
    const second: DeskAnswer = await a.announce('cy', blobs, { zone: 'far' });
    // oxlint-enable no-await-in-loop
    assert.deepEqual(first.blobs[0]?.crossings, [3, 2]);
    assert.deepEqual(second.blobs[0]?.crossings, []);
  }
});

test('a full announcement makes every hub forget what it does not list', async (t) => {
  const fleet = new TestReplicas(t);
  const [a, b] = await fleet.start('a', 'b');
  assert.ok(a && b);
  const [mine] = fleet.digestsOf('a', 1);
  const [other] = fleet.digestsOf('b', 1);
  assert.ok(mine && other);
  await a.announce('ann', [wish(mine), wish(other)], { full: true });
  const pairs = () => [a.tracker.stats.pairs, b.tracker.stats.pairs];
  assert.deepEqual(pairs(), [1, 1]);
  await b.announce('ann', [wish(mine)]);
  assert.deepEqual(pairs(), [1, 1]);
  await a.announce('ann', [wish(mine)], { full: true });
  assert.deepEqual(pairs(), [1, 0]);
});

test('every blob of every announcement is answered once, by its owner', async (t) => {
  const fleet = new TestReplicas(t);
  const hubs = await fleet.start('a', 'b', 'c');
  const digests = ['a', 'b', 'c'].flatMap((id) => fleet.digestsOf(id, 3));
  const blob = fc.record({
    digest: fc.constantFrom(...digests),
    held: fc.uniqueArray(fc.nat(CHUNKS - 1)),
    complete: fc.boolean(),
  });
  const announcement = fc.record({
    hub: fc.nat(2),
    who: fc.constantFrom('ann', 'ben', 'cid'),
    full: fc.boolean(),
    blobs: fc.uniqueArray(blob, { selector: ({ digest }) => digest, maxLength: 9 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(announcement, { maxLength: 6 }), async (all) => {
      for (const { hub, who, full, blobs } of all) {
        const wishes = blobs.map(({ digest, held, complete }) => {
          const have = new ChunkBitmap(CHUNKS);
          for (const index of held) have.set(index);
          return wish(digest, { have: complete ? undefined : have });
        });
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        const answer = await hubs[hub]?.announce(who, wishes, { full });
        const answered = answer?.blobs.map(({ digest }) => digest) ?? [];
        assert.deepEqual(answered.toSorted(), wishes.map(({ digest }) => digest).toSorted());
        assert.ok(Number.isSafeInteger(answer?.intervalMs));
      }
    }),
    { numRuns: 40 },
  );
  for (const { tracker } of hubs) assert.ok(tracker.stats.digests <= 3);
  for (const hub of hubs) assert.equal(await hub.metric('replicas_unowned_total'), 0);
});

test('a hub that was killed costs its blobs their leases until others take over', async (t) => {
  const fleet = new TestReplicas(t);
  const [a, b] = await fleet.start('a', 'b');
  assert.ok(a && b);
  const [mine] = fleet.digestsOf('a', 1);
  const [other] = fleet.digestsOf('b', 1);
  assert.ok(mine && other);
  await b.app.close();
  for (const reason of ['UNREACHABLE', 'PAUSED']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer: DeskAnswer = await a.announce(`ann of ${reason}`, [wish(mine), wish(other)]);
    const [first, second]: BlobAnswer[] = answer.blobs;
    assert.ok(first?.digest === mine && first.hubChunks.length > 0);
    const nothing = { peers: [], hubChunks: [], bypassChunks: 1, retryAfterMs: AWAY_RETRY_MS };
    assert.deepEqual(second, { digest: other, ...nothing });
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal(await a.metric('replicas_forwards_total', { result: reason }), 1);
  }
  await b.replicas.leave();
  await a.owns(1);
  const { blobs } = await a.announce('ann', [wish(other)]);
  assert.deepEqual(blobs[0]?.hubChunks, [], 'leases of the former owner may live yet');
  a.sleep(60_000);
  assert.ok(((await a.announce('ann', [wish(other)])).blobs[0]?.hubChunks.length ?? 0) > 0);
});

test('a hub that another one does not know yet is asked after a look', async (t) => {
  const fleet = new TestReplicas(t);
  const [a] = await fleet.start('a');
  assert.ok(a);
  const [b] = await fleet.start('b');
  assert.ok(b);
  await b.replicas.leave();
  const [other] = fleet.digestsOf('b', 1);
  assert.ok(other);
  // It has gone, and nobody has seen it.
  const { blobs } = await a.announce('ann', [wish(other)]);
  assert.equal(blobs.length, 1);
  await a.owns(1);
  assert.equal(a.tracker.stats.digests, 1);
});

test('of chunks still to come no member of another hub gets more than its share', async (t) => {
  const fleet = new TestReplicas(t);
  const [a, b] = await fleet.start('a', 'b');
  assert.ok(a && b);
  const [digest] = fleet.digestsOf('a', 1);
  assert.ok(digest);
  const size = 64 * LEAF_BYTES;
  const repository = 'docker.io/library/app';
  const blob = { size, repository, hubChunksWanted: 64 };
  const have = new ChunkBitmap(64);
  const leased: number[] = [];
  a.coming.set(`${repository} ${digest}`, { size, received: 0 });
  for (const other of ['bo', 'cy', 'di', 'ed']) {
    // oxlint-disable-next-line no-await-in-loop -- one member after the other
    await b.announce(other, [wish(digest, { ...blob, have: new ChunkBitmap(64) })]);
  }
  for (let ready = 16; ready < 40; ready += 2) {
    a.coming.set(`${repository} ${digest}`, { size, received: ready * LEAF_BYTES });
    for (const index of leased) if (index < ready) have.set(index);
    // oxlint-disable-next-line no-await-in-loop -- one announcement after the other
    const { blobs } = await b.announce('ann', [wish(digest, { ...blob, have: have.clone() })]);
    leased.push(...(blobs[0]?.hubChunks ?? []));
    const ahead = leased.filter((index) => index >= ready && !have.has(index));
    assert.ok(ahead.length <= 4, `${ahead.length} of chunks to come, ${ready} are here`);
  }
  assert.ok(have.count > 0);
});
