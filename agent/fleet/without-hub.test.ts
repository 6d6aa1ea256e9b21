import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { generateKeyPairSync } from 'node:crypto';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { rawPublicKey } from '../../proto/trust/keys.ts';
import { peerIdFromPublicKey } from '../../proto/trust/peer-id.ts';
import { signTagStatement } from '../../proto/trust/tag-statement.ts';
import { Fleet } from './fleet.ts';
import { createFleetMetrics } from './metrics.ts';
import { FLEET_ID, TestHub } from './test-hub.ts';

const DAY_MS = 86_400_000;
const NAME = { namespace: 'hub', repository: 'team/app', tag: 'v1' };
const logger = createLogger({ level: 'silent', name: 'test' });

function signal(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(20_000) };
}

function newPeerId(): string {
  return peerIdFromPublicKey(rawPublicKey(generateKeyPairSync('ed25519').publicKey));
}

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-fleet-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function open(dataDir: string, hub: TestHub, now = Date.now): Promise<Fleet> {
  const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const fleet = await Fleet.open(
    {
      dataDir,
      url: hub.url,
      allowPlainHttp: false,
      joinToken: hub.joinToken(),
      node: 'n1',
      addresses: ['127.0.0.1'],
      outageGraceMs: DAY_MS,
      build: 'test',
      now,
    },
    { metrics: (live) => createFleetMetrics(metrics, live), logger },
  );
  assert.ok(fleet);
  return fleet;
}

/** A fleet client that has enrolled, so that its folder makes it a member without the hub. */
async function enrolled(dataDir: string, hub: TestHub): Promise<Fleet> {
  const fleet = await open(dataDir, hub);
  const changed = new EventTarget();
  using watch = fleet.members.onChange(() => changed.dispatchEvent(new Event('change')));
  void watch;
  fleet.start({ libp2pPort: 7412 });
  if (!fleet.enrolled) await once(changed, 'change', signal());
  await fleet.whenEnrolled(signal());
  return fleet;
}

function nodesOf(fleet: Fleet): string[] {
  return fleet.members
    .list()
    .map(({ node }) => node)
    .toSorted();
}

test('whom a node learned of by others it knows again in its next run', async (t) => {
  const dataDir = await folderOf(t);
  const hub = await new TestHub().start();
  t.after(() => hub[Symbol.asyncDispose]());
  const fleet = await enrolled(dataDir, hub);
  const short = { notAfterMs: Date.now() + 60_000 };
  fleet.members.learn(hub.membership({ peerId: newPeerId(), node: 'lasting' }));
  fleet.members.learn(hub.membership({ peerId: newPeerId(), node: 'ending', ...short }));
  await fleet.close();

  const again = await open(dataDir, hub);
  assert.deepEqual(nodesOf(again), ['ending', 'lasting']);
  assert.equal(again.online, false);
  await again.close();

  const later = await open(dataDir, hub, () => Date.now() + DAY_MS + 3_600_000);
  assert.deepEqual(nodesOf(later), ['lasting'], 'beyond the grace a membership is over');
  await later.close();
});

test('a file of remembered peers is believed only as far as the hub signed it', async (t) => {
  const dataDir = await folderOf(t);
  const hub = await new TestHub().start();
  t.after(() => hub[Symbol.asyncDispose]());
  const liar = new TestHub();
  const fleet = await enrolled(dataDir, hub);
  fleet.members.learn(hub.membership({ peerId: newPeerId(), node: 'true' }));
  await fleet.close();
  const path = join(dataDir, 'peers.json');
  const file: { items: string[] } = JSON.parse(await readFile(path, 'utf8'));
  const forged = liar.membership({ peerId: newPeerId(), node: 'forged' }).toString('base64');
  await writeFile(path, JSON.stringify({ ...file, items: [forged, 'AAAA', ...file.items] }));
  const again = await open(dataDir, hub);
  assert.deepEqual(nodesOf(again), ['true']);
  await again.close();
  for (const damage of ['', '{"format":2,"items":[]}', 'x'.repeat(100)]) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    await writeFile(path, damage);
    // oxlint-disable-next-line no-await-in-loop -- in order
    const bare = await open(dataDir, hub);
    assert.deepEqual(nodesOf(bare), []);
    // oxlint-disable-next-line no-await-in-loop -- in order
    await bare.close();
  }
});

test('a tag statement of the hub is verified before it is believed', async (t) => {
  const hub = await new TestHub().start();
  t.after(() => hub[Symbol.asyncDispose]());
  const fleet = await enrolled(await folderOf(t), hub);
  t.after(() => fleet.close());
  assert.equal(await fleet.requestTag(NAME, signal()), 'not-found');
  const give = (ring: KeyRing): Buffer => {
    const digest = digestOf(Buffer.from('manifest'));
    const statement = { fleetId: FLEET_ID, ...NAME, digest, timeMs: Date.now() };
    const bytes = signTagStatement(statement, ring.signingKey('tag'));
    hub.handlers[FLEET_PATHS.tags] = () => ({ body: { statement: bytes.toString('base64') } });
    return bytes;
  };
  const bytes = give(hub.ring);
  assert.deepEqual(await fleet.requestTag(NAME, signal()), bytes);
  assert.deepEqual(hub.calls.at(-1)?.body, NAME);
  give(KeyRing.create(Date.now()));
  await assert.rejects(fleet.requestTag(NAME, signal()), { code: 'HUB_ANSWER_INVALID' });
});

test('a hub of a version without tag statements costs nothing but them', async (t) => {
  const hub = await new TestHub().start();
  t.after(() => hub[Symbol.asyncDispose]());
  const fleet = await enrolled(await folderOf(t), hub);
  t.after(() => fleet.close());
  hub.handlers[FLEET_PATHS.tags] = () => ({ status: 404, body: { message: 'Route not found' } });
  await assert.rejects(fleet.requestTag(NAME, signal()), { code: 'HUB_STATUS' });
  assert.equal(fleet.online, true);
});
