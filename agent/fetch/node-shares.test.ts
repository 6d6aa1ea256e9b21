import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { digestHex, digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';
import { createFetchMetrics } from './metrics.ts';
import { NodeShares } from './node-shares.ts';
import { FakeSwarm } from './swarm-fixture.ts';
import { REPOSITORY } from './test-hub.ts';
import type { TestBlob } from './test-hub.ts';
import { TestFleet } from './test-rig.ts';
import type { TestAgent } from './test-rig.ts';

const MIB = 1024 * 1024;
const PLACE = { namespace: HUB_NAMESPACE, repository: REPOSITORY };
const LAYER = 'application/vnd.oci.image.layer.v1.tar';

function jsonOf(value: object): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, ...value }));
}

function descriptor(mediaType: string, bytes: Buffer): object {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

describe('what the runtime of a node has', { timeout: 60_000 }, () => {
  let fleet: TestFleet;
  let content: string;

  beforeEach(async () => {
    fleet = new TestFleet();
    content = await mkdtemp(join(tmpdir(), 'flotilla-runtime-'));
    await mkdir(join(content, 'blobs', 'sha256'), { recursive: true });
  });

  afterEach(async () => {
    await fleet.close();
    await rm(content, { recursive: true, force: true });
  });

  function pathOf(digest: Digest): string {
    return join(content, 'blobs', 'sha256', digestHex(digest));
  }

  async function put(bytes: Buffer): Promise<Digest> {
    const digest = digestOf(bytes);
    await writeFile(pathOf(digest), bytes);
    return digest;
  }

  /** An image of one layer for one of two platforms, as the runtime keeps it after a pull. */
  async function pulled(layer: TestBlob): Promise<Digest> {
    await put(layer.bytes);
    const config = Buffer.from('{}');
    const manifest = jsonOf({
      mediaType: OCI_MANIFEST,
      config: descriptor('application/vnd.oci.image.config.v1+json', config),
      layers: [descriptor(LAYER, layer.bytes)],
    });
    await put(manifest);
    const absent = jsonOf({ mediaType: OCI_MANIFEST, other: true });
    const manifests = [manifest, absent].map((bytes) => descriptor(OCI_MANIFEST, bytes));
    return put(jsonOf({ mediaType: OCI_INDEX, manifests }));
  }

  /** Resolves when the fleet knows that the agent has the blob. */
  async function shares(agent: TestAgent, digest: Digest): Promise<void> {
    await fleet.hub.announced(digest);
    assert.equal(agent.store.find(digest)?.complete, true);
  }

  it('is shared with the fleet once its image is resolved, without a byte of the hub', async () => {
    const layer = fleet.hub.addBlob(9 * MIB + 5);
    const agent = await fleet.agent({ containerdContent: content });
    agent.downloads.notice(PLACE, await pulled(layer));
    await shares(agent, layer.digest);
    assert.equal(agent.store.stats().reservedBytes, 0);
    const other = await fleet.agent();
    assert.ok((await other.pull(layer.digest)).equals(layer.bytes));
    assert.equal(fleet.hub.sentBytes, 0);
    assert.ok((await agent.pull(layer.digest)).equals(layer.bytes), 'for this node as well');
    assert.equal(agent.store.stats().reservedBytes, 0);
  });

  it('that is deleted is fetched from the hub like any other', async () => {
    const layer = fleet.hub.addBlob(9 * MIB);
    const agent = await fleet.agent({ containerdContent: content });
    agent.downloads.notice(PLACE, await pulled(layer));
    await shares(agent, layer.digest);
    await rm(pathOf(layer.digest));
    const other = await fleet.agent();
    assert.ok((await other.pull(layer.digest)).equals(layer.bytes));
    assert.ok((await agent.pull(layer.digest)).equals(layer.bytes));
  });

  it('that is not what its name says harms nobody', async () => {
    const layer = fleet.hub.addBlob(9 * MIB);
    const agent = await fleet.agent({ containerdContent: content });
    const image = await pulled(layer);
    const bytes = Buffer.from(layer.bytes);
    bytes.fill(0, 5 * MIB, 6 * MIB);
    await writeFile(pathOf(layer.digest), bytes);
    agent.downloads.notice(PLACE, image);
    await shares(agent, layer.digest);
    const other = await fleet.agent();
    assert.ok((await other.pull(layer.digest)).equals(layer.bytes));
    assert.deepEqual(other.bans, []);
    assert.ok((await agent.pull(layer.digest)).equals(layer.bytes));
    assert.ok((await agent.pull(layer.digest)).equals(layer.bytes));
  });

  it('is looked at however shortly after the last look the image is resolved', async () => {
    const looks: Digest[] = [];
    const { hub, logger } = fleet;
    const metrics = createFetchMetrics(new MetricsRegistry({ prefix: 'flotilla_agent_' }));
    const store = {
      sharesNode: true,
      find: () => undefined,
      create: () => Promise.reject(new Error('nothing is here')),
      isOnNode: () => Promise.resolve(false),
      getSmall: (digest: Digest) => {
        looks.push(digest);
        return Promise.resolve(undefined);
      },
    };
    const modules = { store, swarm: new FakeSwarm(), trust: hub.trust(), metrics, logger };
    const noticed = new NodeShares({ ...modules, sourceOf: () => undefined, announce: () => {} });
    for (let turns = 0; turns < 20; turns += 1) {
      const [first, second] = ['first', 'second'].map((name) =>
        digestOf(Buffer.from(name + turns)),
      );
      assert.ok(first && second);
      noticed.notice(PLACE, first);
      // oxlint-disable-next-line no-await-in-loop -- each time a turn later
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      noticed.notice(PLACE, second);
      // oxlint-disable-next-line no-await-in-loop -- until all is done
      await setImmediate();
      assert.ok(looks.includes(second), `after ${turns} turns`);
    }
  });

  it('is left alone without the setting', async () => {
    const layer = fleet.hub.addBlob(9 * MIB);
    const image = await pulled(layer);
    const agent = await fleet.agent();
    agent.downloads.notice(PLACE, image);
    assert.equal(await agent.store.isOnNode(layer.digest), false);
    assert.equal(await agent.store.getSmall(image), undefined);
  });
});
