import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { request } from 'undici';
import type { Agent } from '../../agent/agent.ts';
import { until } from '../rig/until.ts';
import { HUB_NAME, LoopbackFleet, metricsOf, pull } from './loopback-fleet.ts';
import type { TestImage } from './loopback-fleet.ts';
import { freePort } from '../rig/free-port.ts';

const MIB = 1024 * 1024;
const WARNING = '110 - "Response is Stale"';
const TIMEOUT_MS = 30_000;

type TagAnswer = { status: number; warning: unknown; digest: unknown };

async function headTag(agent: Agent, image: TestImage): Promise<TagAnswer> {
  const url = `${agent.mirrorUrls[0]}/v2/${image.repository}/manifests/${image.tag}?ns=${HUB_NAME}`;
  const { statusCode, headers, body } = await request(url, { method: 'HEAD' });
  await body.dump();
  const { warning, 'docker-content-digest': digest } = headers;
  return { status: statusCode, warning, digest };
}

async function metric(
  agent: Agent,
  name: string,
  labels: Record<string, string> = {},
): Promise<number> {
  return (await metricsOf(agent.opsUrls[0])).sum(`flotilla_agent_${name}`, labels);
}

/** The hub has given the agent so many tag statements since its start. */
async function holdsTags(agent: Agent, count: number): Promise<void> {
  const labels = { source: 'hub', outcome: 'kept' };
  await until('the tag statements of the hub', TIMEOUT_MS, async () => {
    const kept = await metric(agent, 'tag_statements_received_total', labels);
    return kept >= count ? true : undefined;
  });
}

function stale(image: TestImage): TagAnswer {
  return { status: 200, warning: WARNING, digest: image.digest };
}

test('with the hub gone a node pulls by tag what another node has', async () => {
  await using fleet = await LoopbackFleet.start(2);
  const image = await fleet.push('team/app', 'v1', [randomBytes(12 * MIB), randomBytes(1_000)]);
  const [holder, other] = fleet.agents;
  assert.ok(holder && other);
  await pull(holder, image);
  await holdsTags(holder, 1);
  await fleet.stopHub();
  await pull(other, image);
  assert.deepEqual(await headTag(other, image), stale(image));
  assert.deepEqual(await headTag(holder, image), stale(image));
  assert.equal(await metric(holder, 'mirror_stale_tags_total', { source: 'own' }), 1);
  assert.ok((await metric(other, 'mirror_stale_tags_total', { source: 'peer' })) >= 1);
  const unknown = { ...image, tag: 'v2' };
  assert.equal((await headTag(other, unknown)).status, 503, 'what nobody holds, nobody can tell');
});

test('a node that starts while the hub is gone pulls from the peers it knew', async () => {
  await using fleet = await LoopbackFleet.start(3);
  const image = await fleet.push('team/app', 'v1', [randomBytes(9 * MIB)]);
  const mine = await fleet.push('team/mine', 'v1', [randomBytes(1_000)]);
  const [holder, leaver] = fleet.agents;
  assert.ok(holder && leaver);
  await Promise.all([pull(holder, image), pull(leaver, mine), pull(holder, mine)]);
  await Promise.all([holdsTags(holder, 2), holdsTags(leaver, 1)]);
  await fleet.stopHub();
  const again = await fleet.restart(leaver);
  assert.equal(await metric(again, 'tag_statements'), 1, 'its own statements are still there');
  await pull(again, image);
  await pull(again, mine);
  assert.deepEqual(await headTag(again, mine), stale(mine));
});

test('nodes that all start anew without the hub still have what they had', async () => {
  await using fleet = await LoopbackFleet.start(0);
  // Its membership names the port, which has to be the same in its next run.
  const listen = [`127.0.0.1:${await freePort()}`];
  const holder = await fleet.addAgent('n1', { swarm: { listen } });
  const other = await fleet.addAgent('n2');
  const image = await fleet.push('team/app', 'v1', [randomBytes(9 * MIB)]);
  await pull(holder, image);
  await holdsTags(holder, 1);
  await knowEachOther(fleet.agents);
  await fleet.stopHub();
  const [having, wanting] = [await fleet.restart(holder), await fleet.restart(other)];
  await pull(having, image);
  await pull(wanting, image);
  assert.deepEqual(await headTag(wanting, image), stale(image));
});

type NodeState = { membership: string; members: { memberships: string[] } };

async function stateOf(nodeFolder: string): Promise<NodeState> {
  const state: NodeState = JSON.parse(await readFile(path.join(nodeFolder, 'fleet.json'), 'utf8'));
  return state;
}

/** Makes a node forget everybody but one, whom it only knows from others. */
async function forgetAllBut(nodeFolder: string, one: { nodeFolder: string }): Promise<void> {
  const state = await stateOf(nodeFolder);
  state.members.memberships = [];
  await writeFile(path.join(nodeFolder, 'fleet.json'), JSON.stringify(state));
  const peers = { format: 1, items: [(await stateOf(one.nodeFolder)).membership] };
  await writeFile(path.join(nodeFolder, 'peers.json'), JSON.stringify(peers));
}

test('one remembered peer is enough to find what another one has', async () => {
  await using fleet = await LoopbackFleet.start(3);
  const image = await fleet.push('team/app', 'v1', [randomBytes(6 * MIB)]);
  const [holder, known, lonely] = fleet.agents;
  assert.ok(holder && known && lonely);
  await pull(holder, image);
  await holdsTags(holder, 1);
  await knowEachOther(fleet.agents);
  await fleet.stopHub();
  const nodeFolder = fleet.nodeFolder(known);
  const again = await fleet.restart(lonely, (own) => forgetAllBut(own, { nodeFolder }));
  assert.equal(await metric(again, 'fleet_members'), 1);
  await pull(again, image);
  assert.equal(await metric(again, 'fleet_members'), 2);
});

async function knowEachOther(agents: readonly Agent[]): Promise<void> {
  await until('the nodes to know each other', TIMEOUT_MS, async () => {
    const known = await Promise.all(agents.map((agent) => metric(agent, 'fleet_members')));
    return known.every((count) => count === agents.length - 1) ? true : undefined;
  });
}

test('when the hub is back its word counts at once, and nobody has to be restarted', async () => {
  await using fleet = await LoopbackFleet.start(2);
  const image = await fleet.push('team/app', 'v1', [randomBytes(5 * MIB)]);
  const [holder, other] = fleet.agents;
  assert.ok(holder && other);
  await pull(holder, image);
  await holdsTags(holder, 1);
  await fleet.stopHub();
  assert.deepEqual(await headTag(other, image), stale(image));
  await fleet.restartHub();
  const moved = await fleet.push('team/app', 'v1', [randomBytes(6 * MIB)]);
  for (const agent of [holder, other]) {
    const expected = { status: 200, warning: undefined, digest: moved.digest };
    assert.deepEqual(await headTag(agent, moved), expected);
    await pull(agent, moved);
  }
  await until('the fleet to be whole again', TIMEOUT_MS, async () => {
    const online = await Promise.all(fleet.agents.map((one) => metric(one, 'fleet_hub_online')));
    return online.every((value) => value === 1) ? true : undefined;
  });
  // Later it is gone again: what counts then is what it said last.
  await holdsTags(other, 1);
  await fleet.stopHub();
  assert.deepEqual(await headTag(other, moved), stale(moved));
});
