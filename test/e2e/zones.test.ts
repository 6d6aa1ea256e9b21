import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Fleet } from '../rig/fleet.ts';
import type { FleetNode, Published } from '../rig/fleet.ts';
import { MIB } from '../rig/images.ts';
import { fetchedBytes, pulls } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';

const LAYER_BYTES = 48 * MIB;
const LINE_MBIT = 40;
/** Chunks that were on their way twice, and those at which a reader stood. */
const COPIES_MAX = 1.25;

describe('a zone behind a slow line', { skip: missingFor() }, () => {
  let fleet: Fleet;
  let image: Published;
  let far: FleetNode[];
  before(async () => {
    const zones = { n4: 'far', n5: 'far', n6: 'far' };
    fleet = await Fleet.start({ nodes: 6, hubChanges: { fleet: { zones } } });
    far = fleet.nodes.slice(3);
    const machines = far.map(({ machine }) => machine);
    await fleet.network.separate(machines, LINE_MBIT);
    image = await fleet.publish('zones', [LAYER_BYTES]);
  });
  after(async () => fleet[Symbol.asyncDispose]());

  test('gets about one copy over it, however many nodes pull at once', async () => {
    await Promise.all(fleet.nodes.map((node) => pulls(node, image)));
    const crossed = await Promise.all(far.map(crossedBytes));
    const fromHub = await Promise.all(far.map((node) => fetchedBytes(node, 'hub')));
    const bytes = [...crossed, ...fromHub].reduce((sum, part) => sum + part, 0);
    assert.ok(crossed.some((part) => part > 0));
    assert.ok(bytes <= LAYER_BYTES * COPIES_MAX, `${bytes / LAYER_BYTES} copies`);
  });
});

async function crossedBytes({ agent }: FleetNode): Promise<number> {
  return (await agent.metrics()).sum('flotilla_agent_fetched_across_zones_bytes_total');
}
