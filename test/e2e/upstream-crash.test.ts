import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Fleet } from '../rig/fleet.ts';
import { MIB } from '../rig/images.ts';
import { pulls } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';

/** So slow that the hub is killed in the middle. */
const SLOW_MBIT = 300;
/** So large that what was not parked yet is a small part. */
const LARGE_BYTES = 320 * MIB;
const COPIES_MAX = 1.1;
const TIMEOUT_MS = 60_000;

describe(
  'a hub that is killed while it fetches from an upstream',
  { skip: missingFor('openssl') },
  () => {
    let fleet: Fleet;
    before(async () => {
      fleet = await Fleet.start({ nodes: 2, upstream: {} });
    });
    after(async () => fleet[Symbol.asyncDispose]());

    test('goes on by Range when it is started again', async () => {
      const { registry, machine } = fleet.upstream;
      const image = await fleet.upstream.offer('killed', [LARGE_BYTES]);
      const [layer] = image.layers;
      assert.ok(layer);
      await machine.shape(SLOW_MBIT);
      const pulling = fleet.nodes.map((node) => node.containerd.attemptPull(image.reference));
      await until('half of the layer', TIMEOUT_MS, async () => {
        const { blobs } = await registry.report();
        return (blobs[layer.digest]?.bytes ?? 0) > layer.size / 2 ? true : undefined;
      });
      await fleet.hub.kill();
      await fleet.hub.start();
      await Promise.all(pulling);
      for (const node of fleet.nodes) await pulls(node, image);
      const { blobs } = await registry.report();
      const copies = (blobs[layer.digest]?.bytes ?? 0) / layer.size;
      assert.ok(copies >= 1 && copies <= COPIES_MAX, `the upstream sent ${copies} copies`);
    });
  },
);
