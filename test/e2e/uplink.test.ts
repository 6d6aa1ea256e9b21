import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Fleet, type Published } from '../rig/fleet.ts';
import { HUB_PORT } from '../rig/flotilla.ts';
import { MIB } from '../rig/images.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';

const LINK_MBIT = 100;
const BYTES_PER_MBIT = 125_000;
const CONNECTIONS = 24;
const MODEL_BYTES = 96 * MIB;
const SMALL_BYTES = 12 * MIB;
/** An even share is 1, up to 3 where the small client waits for a busy CPU; without turns 20. */
const TIMES_MAX = 5;
const TIMEOUT_MS = 40_000;
/** By then every connection of the model has filled what the kernel keeps for it. */
const FLOWING_BYTES = 24 * MIB;

/**
 * One machine reads a model over many connections. Then another one reads a small image; returns
 * how many times its bytes the first one got meanwhile.
 */
async function modelBytesPerSmallByte(fleet: Fleet): Promise<number> {
  const model = await fleet.publish('model', [MODEL_BYTES]);
  const small = await fleet.publish('small', [SMALL_BYTES]);
  await fleet.hub.machine.shape(LINK_MBIT);
  const url = (image: Published): string => {
    const { repository, layers } = image;
    const base = `http://${fleet.hub.machine.urlHost}:${HUB_PORT}`;
    return `${base}/v2/${repository}/blobs/${layers.at(-1)?.digest}`;
  };
  const received = async (): Promise<{ model: number; small: number }> => {
    const traffic = await fleet.network.traffic();
    const bytesOf = (name: string): number => traffic.get(name)?.receivedBytes ?? 0;
    return { model: bytesOf('n1'), small: bytesOf('n2') };
  };
  const idle = await received();
  for (let n = 0; n < CONNECTIONS; n += 1) {
    // They are cut off with the fleet.
    fleet
      .node(1)
      .worker.http(url(model), { timeoutMs: TIMEOUT_MS })
      .catch(() => {});
  }
  await until('the model to flow', TIMEOUT_MS, async () =>
    (await received()).model - idle.model > FLOWING_BYTES ? true : undefined,
  );
  const start = await received();
  const answer = await fleet.node(2).worker.http(url(small), { timeoutMs: TIMEOUT_MS });
  const end = await received();
  assert.equal(`sha256:${answer.bodySha256}`, small.layers.at(-1)?.digest);
  return (end.model - start.model) / (end.small - start.small);
}

describe('the uplink of a hub', { skip: missingFor('tc') }, () => {
  let fleet: Fleet;
  before(async () => {
    const hubChanges = { http: { uplink: LINK_MBIT * BYTES_PER_MBIT } };
    fleet = await Fleet.start({ nodes: 2, containerd: false, hubChanges });
  });
  after(async () => fleet[Symbol.asyncDispose]());

  test('a small image has its share of it beside a model on many connections', async () => {
    const times = await modelBytesPerSmallByte(fleet);
    assert.ok(times < TIMES_MAX, `the model got ${times} times the bytes of the small image`);
  });
});
