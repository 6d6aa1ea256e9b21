import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { UpstreamFleet } from './upstream-rig.ts';

const LAYER_BYTES = 12 * 2 ** 20;
const REPOSITORY = 'library/large';
const POLL_MS = 20;
const TIMEOUT_MS = 20_000;

/** The clock of these tests stands, so the runner's own timeout ends a wait. */
async function sent(fleet: UpstreamFleet, digest: string, signal: AbortSignal): Promise<void> {
  while (fleet.upstream.report().blobs[digest] === undefined) {
    await delay(POLL_MS, undefined, { signal });
  }
}

for (const by of ['tag', 'digest'] as const) {
  const title = `a layer is on its way when its image is resolved by ${by}`;
  test(title, { timeout: TIMEOUT_MS }, async (t) => {
    const fleet = await UpstreamFleet.start(t, {});
    const image = fleet.offer(REPOSITORY, 'v1', ['amd64'], LAYER_BYTES);
    const [layer] = image.manifests[0]?.layers ?? [];
    assert.ok(layer);
    const manifests = `${REPOSITORY}/manifests`;
    if (by === 'digest') assert.equal((await fleet.ask('HEAD', `${manifests}/v1`)).status, 200);
    const reference = by === 'tag' ? 'v1' : image.digest;
    assert.equal((await fleet.ask('GET', `${manifests}/${reference}`)).status, 200);
    await sent(fleet, layer.digest, t.signal);
    await fleet.pull(image, 'v1');
  });
}
