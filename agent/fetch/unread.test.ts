import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { TestFleet } from './test-rig.ts';

const MIB = 1024 * 1024;

describe('downloads that nobody reads', { timeout: 60_000 }, () => {
  let fleet: TestFleet;

  beforeEach(() => {
    fleet = new TestFleet();
  });

  afterEach(() => fleet.close());

  it('are whole when they are said to be here, and then cost nothing', async () => {
    const blob = fleet.hub.addBlob(9 * MIB);
    const agent = await fleet.agent();
    await agent.downloads.prefetch(await agent.request(blob.digest), {});
    assert.equal(agent.store.find(blob.digest)?.complete, true);
    const sent = fleet.hub.sentBytes;
    await agent.downloads.prefetch(await agent.request(blob.digest), {});
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes));
    assert.equal(fleet.hub.sentBytes, sent);
    assert.match(await agent.registry.text(), /unread_bytes_total 9437184/);
  });

  it('end when they are wanted no more, and what is here stays', async () => {
    const blob = fleet.hub.addBlob(64 * MIB);
    const agent = await fleet.agent();
    const stop = new AbortController();
    const request = await agent.request(blob.digest);
    const fetching = agent.downloads.prefetch(request, { signal: stop.signal });
    while ((agent.store.find(blob.digest)?.have.count ?? 0) === 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    stop.abort(new Error('wanted no more'));
    await assert.rejects(fetching, /wanted no more/);
    while (agent.downloads.active > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await agent.count('downloads_total', 'outcome="stopped"'), 1);
    assert.ok((agent.store.find(blob.digest)?.have.count ?? 0) > 0);
    assert.ok((await agent.pull(blob.digest)).equals(blob.bytes), 'and it goes on from there');
  });

  it('go on when somebody has come to read them', async () => {
    const blob = fleet.hub.addBlob(48 * MIB);
    const agent = await fleet.agent();
    const stop = new AbortController();
    const request = await agent.request(blob.digest);
    const fetching = agent.downloads.prefetch(request, { signal: stop.signal });
    const pulling = agent.pull(blob.digest);
    while (agent.downloads.active === 0) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort(new Error('wanted no more'));
    await assert.rejects(fetching, /wanted no more/);
    assert.ok((await pulling).equals(blob.bytes));
    assert.equal(await agent.count('downloads_total', 'outcome="stopped"'), 0);
  });

  it('are said to have no room instead of passing the store by', async () => {
    const blob = fleet.hub.addBlob(40 * MIB);
    const agent = await fleet.agent({ quotaBytes: 32 * MIB });
    const request = await agent.request(blob.digest);
    await assert.rejects(agent.downloads.prefetch(request, {}), { code: 'FULL' });
    assert.equal(agent.store.stats().reservedBytes, 0);
  });
});
