import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Fleet } from '../../agent/fleet/fleet.ts';
import { createFleetMetrics } from '../../agent/fleet/metrics.ts';
import { BLOB, BLOB_SIZE, MANIFEST, TestHub } from '../../hub/fleet/fleet-fixture.ts';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';

const TIMEOUT_MS = 20_000;
const { chunkCount } = layoutOf(BLOB_SIZE);

function signal(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(TIMEOUT_MS) };
}

/** The agent's fleet client of a node, enrolled with a hub that listens. */
async function joinFleet(t: TestContext, hub: TestHub, node: string): Promise<Fleet> {
  const dataDir = await mkdtemp(join(tmpdir(), 'flotilla-agent-'));
  const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const address = hub.app.server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const fleet = await Fleet.open(
    {
      dataDir,
      url: `http://127.0.0.1:${port}`,
      allowPlainHttp: false,
      joinToken: await hub.fleet.createJoinToken(),
      node,
      addresses: [],
      outageGraceMs: 60_000,
      build: 'test',
      now: () => hub.nowMs,
    },
    {
      metrics: (live) => createFleetMetrics(metrics, live),
      logger: createLogger({ level: 'silent', name: 'test' }),
    },
  );
  assert.ok(fleet);
  t.after(async () => {
    await fleet.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  fleet.start({ libp2pPort: 7412 });
  await fleet.whenEnrolled(signal());
  return fleet;
}

async function listeningHub(t: TestContext, zones = {}): Promise<TestHub> {
  const hub = await TestHub.start(t, { config: { zones } });
  await hub.app.listen({ host: '127.0.0.1', port: 0 });
  return hub;
}

/** Resolves when `holds` after a change of the member book. */
async function until(fleet: Fleet, holds: () => boolean): Promise<void> {
  const changes = new EventTarget();
  using watch = fleet.members.onChange(() => changes.dispatchEvent(new Event('change')));
  void watch;
  while (!holds()) {
    // oxlint-disable-next-line no-await-in-loop -- each turn waits for the next change
    await once(changes, 'change', signal());
  }
}

function item(wanted: number, ...held: number[]) {
  const have = new ChunkBitmap(chunkCount);
  for (const index of held) have.set(index);
  return {
    namespace: 'hub',
    repository: 'team/app',
    digest: BLOB,
    size: BLOB_SIZE,
    complete: false,
    have,
    hubChunksWanted: wanted,
  };
}

test('agents enrol with a hub of the same version and learn of each other', async (t) => {
  const hub = await listeningHub(t);
  const a = await joinFleet(t, hub, 'a');
  const b = await joinFleet(t, hub, 'b');
  assert.deepEqual(a.members.own?.membership.addresses, ['127.0.0.1']);
  assert.deepEqual(b.hubNames, ['hub.example']);
  await until(b, () => b.members.list().length === 1);
  assert.equal(b.members.list()[0]?.peerId, a.identity.peerId);
});

test('announcements lease each chunk once and name the other agent', async (t) => {
  const hub = await listeningHub(t);
  const a = await joinFleet(t, hub, 'a');
  const b = await joinFleet(t, hub, 'b');
  const [first] = await a.announce([item(64)], { ...signal(), full: true });
  const [second] = await b.announce([item(64)], { ...signal(), full: true });
  assert.ok(first && second);
  const leased = [...first.hubChunks, ...second.hubChunks];
  assert.ok(first.hubChunks.length > 0 && second.hubChunks.length > 0);
  assert.equal(new Set(leased).size, leased.length);
  assert.deepEqual(
    second.peers.map(({ peerId }) => peerId),
    [a.identity.peerId],
  );
  await a.announce([{ ...item(0), complete: true }], signal());
  const [last] = await b.announce([item(64, ...second.hubChunks)], signal());
  assert.deepEqual(last?.hubChunks, []);
});

test('a chunk of another zone is fetched by one agent of a zone', async (t) => {
  const hub = await listeningHub(t, { b: 'far', c: 'far' });
  const a = await joinFleet(t, hub, 'a');
  const b = await joinFleet(t, hub, 'b');
  const c = await joinFleet(t, hub, 'c');
  await a.announce([item(0, 1, 2)], signal());
  const wish = { ...item(0), crossingsWanted: [2, 1, 5] };
  const [first] = await b.announce([wish], signal());
  assert.deepEqual(first?.crossings, [2, 1], 'in the order of wishes, and only what is there');
  const [second] = await c.announce([wish], signal());
  assert.deepEqual(second?.crossings, []);
});

test('a grant of the hub is accepted by the agent; there is none for the unknown', async (t) => {
  const hub = await listeningHub(t);
  const a = await joinFleet(t, hub, 'a');
  const bundle = await a.requestGrant('hub', 'team/app', MANIFEST, signal());
  assert.ok(bundle !== 'not-found');
  assert.deepEqual(bundle.digests, [BLOB]);
  const unknown = digestOf(Buffer.from('unknown'));
  assert.equal(await a.requestGrant('hub', 'team/app', unknown, signal()), 'not-found');
  assert.equal(await a.requestGrant('hub', 'private/app', MANIFEST, signal()), 'not-found');
});

test('an agent whose node name was taken over is refused and does not come back', async (t) => {
  const hub = await listeningHub(t);
  const first = await joinFleet(t, hub, 'same');
  const second = await joinFleet(t, hub, 'same');
  await assert.rejects(first.announce([item(1)], signal()), (err: Error) =>
    err.message.includes('revoked'),
  );
  assert.equal((await second.announce([item(1)], signal())).length, 1);
});
