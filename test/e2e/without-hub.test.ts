import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Fleet } from '../rig/fleet.ts';
import type { FleetNode, Published } from '../rig/fleet.ts';
import { HUB_NAME } from '../rig/fleet-config.ts';
import { MIRROR_PORT } from '../rig/flotilla.ts';
import type { Program } from '../rig/flotilla.ts';
import type { HttpAnswer } from '../rig/worker.ts';
import { makeImage, MIB } from '../rig/images.ts';
import { fetchedBytes, pulls, pullsAgain } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';

const LAYERS = [24 * MIB, 2 * MIB];
const STATED_TIMEOUT_MS = 15_000;
/** Agents that could not reach the hub try again at least this often, and a call takes its time. */
const HEALED_TIMEOUT_MS = 60_000;

describe('without the hub', { skip: missingFor() }, () => {
  let fleet: Fleet;
  before(async () => {
    fleet = await Fleet.start({ nodes: 3 });
  });
  after(async () => fleet[Symbol.asyncDispose]());

  /** Lets the tag of a published image name another one. */
  async function movedTo(name: string, layers: readonly number[]): Promise<Published> {
    const image = await makeImage(fleet.scratch, `${name}-moved`, layers);
    const repository = `test/${name}`;
    const reference = await fleet.push(image, `${repository}:v1`);
    const byDigest = `${HUB_NAME}/${repository}@${image.manifestDigest}`;
    return { ...image, reference, byDigest, repository };
  }

  test('nodes pull by tag and by digest what one has, also one that starts now', async () => {
    const image = await fleet.publish('outage', LAYERS);
    const [holder, second, third] = [fleet.node(1), fleet.node(2), fleet.node(3)];
    await pullsStated(holder, image);
    await fleet.hub.stop();
    await pulls(second, image);
    await assertStale(second, image);
    await pullsAgain(second, image, image.byDigest);
    assert.ok((await fetchedBytes(second, 'peer')) >= image.bytes * 0.9);
    const metrics = await second.agent.metrics();
    assert.ok(metrics.sum('flotilla_agent_mirror_stale_tags_total', { source: 'peer' }) >= 1);

    await third.agent.kill();
    await third.agent.start();
    await pulls(third, image);
    await assertStale(third, image);
  });

  test('when the hub is back its word counts, and no agent has to be restarted', async () => {
    const running = fleet.nodes.map(({ agent }) => agent.running);
    await fleet.hub.start();
    const moved = await movedTo('outage', [5 * MIB]);
    for (const node of fleet.nodes) {
      await pulls(node, moved);
      const { headers } = await headTag(node, moved);
      assert.deepEqual(
        [headers['warning'], headers['docker-content-digest']],
        [undefined, moved.manifestDigest],
      );
    }
    for (const { agent } of fleet.nodes) await isOnline(agent);
    assert.deepEqual(
      fleet.nodes.map(({ agent }) => agent.running),
      running,
    );
  });

  test('a hub that swallows packets is no hub either', async () => {
    const image = await fleet.publish('swallowed', LAYERS);
    await pullsStated(fleet.node(1), image);
    await fleet.hub.machine.link('down');
    await pulls(fleet.node(2), image);
    await assertStale(fleet.node(2), image);
    await fleet.hub.machine.link('up');
    await pulls(fleet.node(3), image);
  });
});

async function isOnline(agent: Program): Promise<void> {
  await until(`${agent.name} to reach the hub`, HEALED_TIMEOUT_MS, async () => {
    const metrics = await agent.metrics();
    return metrics.sum('flotilla_agent_fleet_hub_online') === 1 ? true : undefined;
  });
}

async function headTag({ machine, worker }: FleetNode, image: Published): Promise<HttpAnswer> {
  const base = `http://${machine.loopbackHost}:${MIRROR_PORT}`;
  const url = `${base}/v2/${image.repository}/manifests/v1?ns=${HUB_NAME}`;
  return await worker.http(url, { method: 'HEAD' });
}

/** Pulls by tag, and waits until the agent holds what the hub states of the tag. */
async function pullsStated(node: FleetNode, image: Published): Promise<void> {
  const held = async (): Promise<number> => {
    const labels = { source: 'hub', outcome: 'kept' };
    const metrics = await node.agent.metrics();
    return metrics.sum('flotilla_agent_tag_statements_received_total', labels);
  };
  const earlier = await held();
  await pulls(node, image);
  await until('the tag statement of the hub', STATED_TIMEOUT_MS, async () =>
    (await held()) > earlier ? true : undefined,
  );
}

async function assertStale(node: FleetNode, image: Published): Promise<void> {
  const { status, headers } = await headTag(node, image);
  assert.deepEqual(
    [status, headers['warning'], headers['docker-content-digest']],
    [200, '110 - "Response is Stale"', image.manifestDigest],
  );
}
