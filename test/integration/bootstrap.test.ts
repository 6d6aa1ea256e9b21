// A hub in the cluster that it serves: its own image has to be there when it is not.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { test } from 'node:test';
import type { Agent } from '../../agent/agent.ts';
import { until } from '../rig/until.ts';
import { freePort } from '../rig/free-port.ts';
import { LoopbackFleet, metricsOf, pull } from './loopback-fleet.ts';

const MIB = 1024 * 1024;
const TIMEOUT_MS = 30_000;
/** The image of the hub, in the words of `store.pinned`. */
const OWN = 'flotilla/flotilla';
/** Room for the hub's image and one other. */
const QUOTA = '40MiB';

/** Adds a node that keeps the hub's image; its membership names a port that stays the same. */
async function addKeeper(fleet: LoopbackFleet, name: string): Promise<Agent> {
  return fleet.addAgent(name, {
    store: { dataDir: path.join(fleet.folder, name), quota: QUOTA, pinned: [OWN] },
    swarm: { listen: [`127.0.0.1:${await freePort()}`], lanePort: 0 },
  });
}

async function count(agent: Agent, name: string, labels = {}): Promise<number> {
  return (await metricsOf(agent.opsUrls[0])).sum(`flotilla_agent_${name}`, labels);
}

/** The hub has said of so many tags to this agent what they name. */
async function holdsTags(agent: Agent, wanted: number): Promise<void> {
  await until('the tag statements of the hub', TIMEOUT_MS, async () => {
    return (await count(agent, 'tag_statements')) >= wanted ? true : undefined;
  });
}

test('an agent that pinned the image of the hub gives it with the hub gone', async () => {
  await using fleet = await LoopbackFleet.start(0);
  const keeper = await addKeeper(fleet, 'n1');
  const own = await fleet.push(OWN, 'v1', [randomBytes(9 * MIB), randomBytes(1_000)]);
  await pull(keeper, own);
  for (const tag of ['a', 'b', 'c']) {
    await pull(keeper, await fleet.push('team/app', tag, [randomBytes(20 * MIB)]));
  }
  assert.ok((await count(keeper, 'store_evictions_total')) > 0, 'the cache was too small');
  await holdsTags(keeper, 1);
  await fleet.stopHub();
  await pull(keeper, own);
  await pull(keeper, own, { by: 'digest' });
  // The node starts again, as after a power cut of all of them.
  const again = await fleet.restart(keeper);
  await pull(again, own);
  await pull(again, own, { by: 'digest' });
});

test('a node that never saw the image of the hub gets it from one that has it', async () => {
  await using fleet = await LoopbackFleet.start(0);
  const keeper = await addKeeper(fleet, 'n1');
  const other = await fleet.addAgent('n2');
  const own = await fleet.push(OWN, 'v1', [randomBytes(9 * MIB), randomBytes(1_000)]);
  await pull(keeper, own);
  await holdsTags(keeper, 1);
  await until('the nodes to know each other', TIMEOUT_MS, async () => {
    const known = await Promise.all(fleet.agents.map((agent) => count(agent, 'fleet_members')));
    return known.every((members) => members === 1) ? true : undefined;
  });
  await fleet.stopHub();
  await pull(other, own);
  assert.ok((await count(other, 'fetched_bytes_total', { source: 'peer' })) >= 9 * MIB);
});

test('when all nodes start again without the hub, any of them gets its image', async () => {
  await using fleet = await LoopbackFleet.start(0);
  const keeper = await addKeeper(fleet, 'n1');
  const other = await addKeeper(fleet, 'n2');
  const own = await fleet.push(OWN, 'v1', [randomBytes(9 * MIB)]);
  await pull(keeper, own);
  await holdsTags(keeper, 1);
  await until('the nodes to know each other', TIMEOUT_MS, async () => {
    const known = await Promise.all(fleet.agents.map((agent) => count(agent, 'fleet_members')));
    return known.every((members) => members === 1) ? true : undefined;
  });
  await fleet.stopHub();
  const [having, wanting] = [await fleet.restart(keeper), await fleet.restart(other)];
  await pull(wanting, own);
  await pull(having, own);
});
