import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { hasCode } from '../../proto/std/errors.ts';
import { Fleet, assertBytes } from '../rig/fleet.ts';
import type { FleetNode } from '../rig/fleet.ts';
import { HUB_PORT } from '../rig/flotilla.ts';
import { MIB, makeImage } from '../rig/images.ts';
import { pulls, pullsAgain } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';

const HUB_DISK_BYTES = 128 * MIB;
const AGENT_DISK_BYTES = 40 * MIB;
/** More than the disk holds, so that the store itself never thinks it is full. */
const AGENT_QUOTA = '1GiB';

describe('a full disk', { skip: missingFor() }, () => {
  let fleet: Fleet;
  before(async () => {
    fleet = await Fleet.start({
      nodes: 2,
      hubDiskBytes: HUB_DISK_BYTES,
      agentDiskBytes: AGENT_DISK_BYTES,
      agentChanges: { store: { quota: AGENT_QUOTA } },
    });
  });
  afterEach(() => {
    for (const program of [fleet.hub, ...fleet.nodes.map(({ agent }) => agent)]) {
      assert.equal(program.running.exit, undefined, `${program.name} ended`);
    }
  });
  after(async () => fleet[Symbol.asyncDispose]());

  test('of the hub refuses the push, shows nothing of it, and takes the next one', async () => {
    const big = await makeImage(fleet.scratch, 'too-big', [HUB_DISK_BYTES + 8 * MIB]);
    await assert.rejects(fleet.push(big, 'full/big:v1'));
    const hub = `http://localhost:${HUB_PORT}/v2/full/big`;
    const names = ['manifests/v1', `manifests/${big.manifestDigest}`];
    for (const layer of big.layers.slice(1)) names.push(`blobs/${layer.digest}`);
    for (const name of names) {
      const answer = await fleet.hub.worker.http(`${hub}/${name}`);
      assert.equal(answer.status, 404, `${name} is there after a push that failed`);
      assert.match(answer.body.toString(), /"errors"/);
    }
    const small = await fleet.publish('after-full-disk', [8 * MIB]);
    await pulls(fleet.node(1), small);
  });

  test('of an agent lets the image through, and the next one', async () => {
    const node: FleetNode = fleet.node(2);
    const image = await fleet.publish('beyond-cache', [AGENT_DISK_BYTES + 16 * MIB]);
    await pulls(node, image);
    await pullsAgain(node, image);
    const small = await fleet.publish('after-full-cache', [6 * MIB]);
    await pulls(node, small);
    await assertBytes(node.containerd, small);
  });

  for (const how of ['kill', 'stop'] as const) {
    test(`lets an agent start again after a ${how}, and images through`, async () => {
      const node: FleetNode = fleet.node(2);
      const image = await fleet.publish(`before-full-${how}`, [6 * MIB]);
      await pulls(node, image);
      await node.agent[how]();
      const filler = path.join(node.agent.folder, 'data', 'filler');
      const filling = writeFile(filler, Buffer.alloc(AGENT_DISK_BYTES));
      await assert.rejects(filling, (err) => hasCode(err, 'ENOSPC'));
      await node.agent.start();
      await pullsAgain(node, image);
      await pulls(node, await fleet.publish(`onto-full-${how}`, [6 * MIB]));
      await rm(filler);
    });
  }
});
