import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { hasCode } from '../../proto/std/errors.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { DIRECT_READERS_MAX, HUB_INFLIGHT_MAX } from './constants.ts';
import { TestHub } from './test-hub.ts';
import { TestFleet } from './test-rig.ts';
import type { TestAgent } from './test-rig.ts';

const MIB = 1024 * 1024;

/** Resolves once the agent holds at least this many chunks of the blob. */
async function holds(agent: TestAgent, digest: Digest, chunks: number): Promise<void> {
  let blob = agent.store.find(digest);
  while (blob === undefined) {
    await new Promise((resolve) => setImmediate(resolve));
    blob = agent.store.find(digest);
  }
  const found = blob;
  const enough = Promise.withResolvers<void>();
  const check = (): void => {
    if (found.have.count >= chunks) enough.resolve();
  };
  const listening = found.onChange(check);
  check();
  await enough.promise;
  listening[Symbol.dispose]();
}

describe('downloads of a fleet', { timeout: 60_000 }, () => {
  let fleet: TestFleet;

  beforeEach(() => {
    fleet = new TestFleet();
  });

  afterEach(() => fleet.close());

  it('takes one copy from the hub for four agents that start together', async () => {
    const blob = fleet.hub.addBlob(48 * MIB + 5);
    const agents = await Promise.all([0, 1, 2, 3].map(() => fleet.agent()));
    const pulled = await Promise.all(agents.map((agent) => agent.pull(blob.digest)));
    for (const bytes of pulled) assert.ok(bytes.equals(blob.bytes));
    const copies = fleet.hub.sentBytes / blob.bytes.length;
    assert.ok(copies <= 1.3, `${copies} copies left the hub`);
  });

  it('bans a peer that sends wrong bytes, and succeeds without it', async () => {
    const blob = fleet.hub.addBlob(24 * MIB);
    const [liar, honest] = [await fleet.agent(), await fleet.agent()];
    await Promise.all([liar.pull(blob.digest), honest.pull(blob.digest)]);
    liar.manners = 'lies';
    const agent = await fleet.agent();
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
    assert.deepEqual(agent.bans, [{ peerId: liar.peerId, reason: 'chunk-mismatch' }]);
    assert.ok((await agent.count('chunks_rejected_total', 'reason="peer_mismatch"')) >= 1);
  });

  it('gets the chunks of a peer that stalls from elsewhere', async () => {
    const blob = fleet.hub.addBlob(24 * MIB);
    const [slow, good] = [await fleet.agent(), await fleet.agent()];
    await Promise.all([slow.pull(blob.digest), good.pull(blob.digest)]);
    slow.manners = 'stalls';
    const agent = await fleet.agent();
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
  });

  it('gives a slow reader right bytes while buffers are used again for a fast one', async () => {
    const blob = fleet.hub.addBlob(24 * MIB);
    await (await fleet.agent()).pull(blob.digest);
    const agent = await fleet.agent();
    using handle = await agent.downloads.open(await agent.request(blob.digest), {});
    const slow = handle.read({ start: 0, end: handle.size }, {})[Symbol.asyncIterator]();
    const first = await slow.next();
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
    // What the slow reader holds is as it was, and the rest comes out of the store.
    let at = 0;
    for (let piece = first; piece.done !== true; piece = await slow.next()) {
      assert.ok(piece.value.equals(blob.bytes.subarray(at, at + piece.value.length)), `at ${at}`);
      at += piece.value.length;
    }
    assert.equal(at, blob.bytes.length);
  });

  it('goes on without the hub, and without a peer that is gone', async () => {
    const blob = fleet.hub.addBlob(32 * MIB);
    const [first, second] = [await fleet.agent(), await fleet.agent()];
    await Promise.all([first.pull(blob.digest), second.pull(blob.digest)]);
    fleet.hub.chunkMs = 50;
    const agent = await fleet.agent();
    const pulling = agent.pull(blob.digest);
    await holds(agent, blob.digest, 4);
    fleet.hub.down = true;
    first.manners = 'gone';
    assert.ok((await pulling).equals(blob.bytes));
    const late = await fleet.agent();
    assert.ok((await late.pull(blob.digest)).equals(blob.bytes), 'nor needs it to begin');
  });

  it('after a restart at 60 % asks for nothing it had saved', async () => {
    const blob = fleet.hub.addBlob(140 * MIB);
    fleet.hub.chunkMs = 10;
    const first = await fleet.agent();
    const pulling = first.pull(blob.digest);
    await holds(first, blob.digest, 84);
    const refused = assert.rejects(pulling, (err) => hasCode(err, 'CLOSED'));
    await first.downloads.close();
    await refused;
    const before = fleet.hub.sentBytes;
    first.manners = 'gone';
    // The first store is left as a kill leaves it; the second one opens the same folder.
    const second = await fleet.agent({ dataDir: first.dataDir });
    const had = second.store.find(blob.digest)?.have.count ?? 0;
    assert.ok(had >= 84 - 64);
    assert.ok((await second.pull(blob.digest)).equals(blob.bytes));
    // Requests of the first agent that were under way may still be counted.
    const rest = blob.bytes.length - had * MIB;
    assert.ok(fleet.hub.sentBytes - before <= rest + HUB_INFLIGHT_MAX * MIB);
  });

  it('offers after a restart what it had before', async () => {
    const blob = fleet.hub.addBlob(16 * MIB);
    const first = await fleet.agent();
    await first.pull(blob.digest);
    await first.close();
    first.manners = 'gone';
    fleet.hub.forget();
    const before = fleet.hub.sentBytes;
    await fleet.agent({ dataDir: first.dataDir });
    await fleet.hub.announced(blob.digest);
    const other = await fleet.agent();
    assert.ok((await other.pull(blob.digest)).equals(blob.bytes));
    assert.equal(fleet.hub.sentBytes, before);
  });

  it('downloads once for many readers, each at its own range', async () => {
    const blob = fleet.hub.addBlob(16 * MIB + 100);
    const agent = await fleet.agent();
    const ranges = [0, 3, 7, 11].map((start) => ({ start: start * MIB + 3, end: 15 * MIB }));
    const pulled = await Promise.all(ranges.map((range) => agent.pull(blob.digest, range)));
    for (const [at, range] of ranges.entries()) {
      assert.ok(pulled[at]?.equals(blob.bytes.subarray(range.start, range.end)));
    }
    await holds(agent, blob.digest, 17);
    assert.equal(fleet.hub.sentBytes, blob.bytes.length);
  });

  it('fills the cache although the reader has left', async () => {
    const blob = fleet.hub.addBlob(16 * MIB);
    const agent = await fleet.agent();
    const handle = await agent.downloads.open(await agent.request(blob.digest), {});
    for await (const bytes of handle.read({ start: 0, end: 10 }, {})) {
      assert.ok(bytes.equals(blob.bytes.subarray(0, 10)));
    }
    handle[Symbol.dispose]();
    await holds(agent, blob.digest, 16);
    fleet.hub.down = true;
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
    assert.equal(await agent.count('fetched_bytes_total', 'source="local"'), 16 * MIB);
  });

  it('asks the hub again when a chunk does not match the root', async () => {
    const blob = fleet.hub.addBlob(8 * MIB);
    let spoiled = 0;
    fleet.hub.tamper = (bytes) => {
      if (spoiled < 3) bytes[9] = (bytes[9] ?? 0) ^ 1;
      spoiled += 1;
      return bytes;
    };
    const agent = await fleet.agent();
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
    assert.equal(await agent.count('chunks_rejected_total', 'reason="hub_mismatch"'), 3);
  });

  it('says that a blob is not there when the hub says so', async () => {
    const agent = await fleet.agent();
    const elsewhere = new TestHub().addBlob(8 * MIB);
    await assert.rejects(agent.pull(elsewhere.digest), (err) => hasCode(err, 'NOT_FOUND'));
  });
});

describe('a store without room', { timeout: 60_000 }, () => {
  let fleet: TestFleet;

  beforeEach(() => {
    fleet = new TestFleet();
  });

  afterEach(() => fleet.close());

  it('lets a blob through, proved, to every reader', async () => {
    const blob = fleet.hub.addBlob(12 * MIB + 1);
    const agent = await fleet.agent({ quotaBytes: 8 * MIB });
    const range = { start: MIB - 1, end: 5 * MIB };
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
    assert.ok((await agent.pull(blob.digest, range)).equals(blob.bytes.subarray(MIB - 1, 5 * MIB)));
    assert.equal(agent.store.find(blob.digest), undefined);
  });

  it('lets no wrong byte through', async () => {
    const blob = fleet.hub.addBlob(12 * MIB);
    fleet.hub.tamper = (bytes, start) => {
      if (start === 5 * MIB) bytes[0] = (bytes[0] ?? 0) ^ 1;
      return bytes;
    };
    const agent = await fleet.agent({ quotaBytes: 8 * MIB });
    await assert.rejects(agent.pull(blob.digest), (err) => hasCode(err, 'UNAVAILABLE'));
  });

  it('serves so many readers past the store and sends the next one on', async () => {
    const blob = fleet.hub.addBlob(12 * MIB);
    const agent = await fleet.agent({ quotaBytes: 8 * MIB });
    const request = await agent.request(blob.digest);
    const reading = Array.from({ length: DIRECT_READERS_MAX }, async () => {
      const handle = await agent.downloads.open(request, {});
      const body = handle.read({ start: 0, end: handle.size }, {});
      return body[Symbol.asyncIterator]();
    });
    const bodies = await Promise.all(reading);
    const firsts = bodies.map((body) => body.next());
    await assert.rejects(agent.pull(blob.digest), (err) => hasCode(err, 'FULL'));
    await Promise.all(firsts);
    await Promise.all(bodies.map(async (body) => body.return?.()));
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
  });

  it('lets a blob without statement through', async () => {
    fleet.hub.states = false;
    const blob = fleet.hub.addBlob(12 * MIB);
    const agent = await fleet.agent({ quotaBytes: 8 * MIB });
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
  });
});

describe('a blob without a statement', { timeout: 60_000 }, () => {
  let fleet: TestFleet;

  beforeEach(() => {
    fleet = new TestFleet();
    fleet.hub.states = false;
  });

  afterEach(() => fleet.close());

  it('is passed through once to all readers, then kept, and not offered to peers', async () => {
    const blob = fleet.hub.addBlob(9 * MIB + 9);
    const agent = await fleet.agent();
    const pulls = [agent.pull(blob.digest), agent.pull(blob.digest, { start: 5, end: 6 * MIB })];
    const [whole, part] = await Promise.all(pulls);
    assert.ok(whole?.equals(blob.bytes));
    assert.ok(part?.equals(blob.bytes.subarray(5, 6 * MIB)));
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
    assert.equal(fleet.hub.sentBytes, blob.bytes.length);
    assert.equal(agent.store.find(blob.digest)?.servable, false);
  });

  it('is cut before its end when the digest is wrong, and the next pull succeeds', async () => {
    const blob = fleet.hub.addBlob(9 * MIB);
    const { hub } = fleet;
    hub.tamper = (bytes) => Buffer.alloc(bytes.length, 1);
    const agent = await fleet.agent();
    using handle = await agent.downloads.open(await agent.request(blob.digest), {});
    let received = 0;
    const reading = async (): Promise<void> => {
      for await (const bytes of handle.read({ start: 0, end: handle.size }, {})) {
        received += bytes.length;
      }
    };
    await assert.rejects(reading(), (err) => hasCode(err, 'DIGEST_MISMATCH'));
    assert.ok(received < blob.bytes.length);
    assert.equal(agent.store.find(blob.digest), undefined);
    hub.tamper = (bytes) => bytes;
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
  });

  it('breaks for its readers when the connection breaks, and the next pull succeeds', async () => {
    const blob = fleet.hub.addBlob(9 * MIB);
    fleet.hub.breakAfter = 4 * MIB;
    const agent = await fleet.agent();
    await assert.rejects(agent.pull(blob.digest), (err) => hasCode(err, 'BROKEN'));
    fleet.hub.breakAfter = Number.POSITIVE_INFINITY;
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
  });
});

describe('small blobs', { timeout: 60_000 }, () => {
  let fleet: TestFleet;

  beforeEach(() => {
    fleet = new TestFleet();
  });

  afterEach(() => fleet.close());

  it('travel between peers while the hub is down', async () => {
    const blob = fleet.hub.addBlob(3000);
    const [first, second] = [await fleet.agent(), await fleet.agent()];
    const manifest = await first.downloads.manifest(await first.request(blob.digest), {});
    assert.ok(manifest?.equals(blob.bytes));
    fleet.hub.down = true;
    const relayed = await second.downloads.manifest(await second.request(blob.digest), {});
    assert.ok(relayed?.equals(blob.bytes));
    assert.ok((await second.pull(blob.digest)).equals(blob.bytes));
  });

  it('are believed only when they hash to their digest', async () => {
    const blob = fleet.hub.addBlob(3000);
    const [liar, honest] = [await fleet.agent(), await fleet.agent()];
    await liar.pull(blob.digest);
    await honest.pull(blob.digest);
    fleet.hub.down = true;
    liar.manners = 'lies';
    honest.manners = 'gone';
    const agent = await fleet.agent();
    const request = await agent.request(blob.digest);
    await assert.rejects(agent.downloads.manifest(request, {}), (err) =>
      hasCode(err, 'UNAVAILABLE'),
    );
    assert.deepEqual(agent.bans, [{ peerId: liar.peerId, reason: 'blob-mismatch' }]);
    honest.manners = 'honest';
    assert.ok((await agent.downloads.manifest(request, {}))?.equals(blob.bytes));
  });

  it('come from the upstream for its own namespace', async () => {
    const upstream = new TestHub();
    const blob = upstream.addBlob(5000);
    const agent = await fleet.agent({ upstream });
    const request = { ...(await agent.request(blob.digest)), namespace: 'docker.io' };
    assert.ok((await agent.downloads.manifest(request, {}))?.equals(blob.bytes));
    assert.equal(fleet.hub.sentBytes, 0);
  });
});
