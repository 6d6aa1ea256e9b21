import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Fleet, type FleetNode } from '../rig/fleet.ts';
import { MIRROR_PORT } from '../rig/flotilla.ts';
import { MIB } from '../rig/images.ts';
import { pulls, pullsAgain } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';
import type { UpstreamImage } from '../rig/upstream.ts';
import type { HttpAnswer } from '../rig/worker.ts';

const WINDOW_SECONDS = 30;
/** A window, and the pauses that the hub makes between questions. */
const AGAIN_TIMEOUT_MS = 90_000;
const WARNING = /^110 /;

describe('an upstream that gives nothing any more', { skip: missingFor('openssl') }, () => {
  let fleet: Fleet;
  before(async () => {
    fleet = await Fleet.start({ nodes: 2, upstream: {} });
  });
  after(async () => fleet[Symbol.asyncDispose]());

  test('because of its limit: what is there is served, the rest is one clear 503', async () => {
    const { registry } = fleet.upstream;
    const [known, other] = [
      await fleet.upstream.offer('known', [5 * MIB]),
      await fleet.upstream.offer('other', [5 * MIB]),
    ];
    // Index and manifest of one image, and the index of the other.
    await registry.limit({ pulls: 3, windowSeconds: WINDOW_SECONDS });
    await pulls(fleet.node(1), known);
    const index = await ask(fleet.node(1), other, 'v1');
    assert.equal(index.status, 200, index.body.toString());
    const manifest = await ask(fleet.node(1), other, other.manifestDigest);
    assert.equal(manifest.status, 503, manifest.body.toString());
    assert.ok(Number(manifest.headers['retry-after']) > 0, 'no Retry-After');
    assert.match(manifest.body.toString(), /docker\.io/);
    const { limited } = await registry.report();
    for (let n = 0; n < 5; n += 1) {
      assert.equal((await ask(fleet.node(2), other, other.manifestDigest)).status, 503);
    }
    assert.equal((await registry.report()).limited, limited, 'it was asked again meanwhile');
    await pulls(fleet.node(2), known);
    await until('the limit to be over', AGAIN_TIMEOUT_MS, async () => {
      const answer = await ask(fleet.node(2), other, other.manifestDigest);
      assert.ok(answer.status === 200 || answer.status === 503, String(answer.status));
      return answer.status === 200 ? true : undefined;
    });
    await pulls(fleet.node(2), other);
    await registry.limit(undefined);
  });

  test('because it is gone: tags are served as they were, and say so', async () => {
    const image = await fleet.upstream.offer('gone', [9 * MIB]);
    await until('the hub to have noticed that there is no limit', AGAIN_TIMEOUT_MS, async () => {
      const answer = await ask(fleet.node(1), image, image.manifestDigest);
      return answer.status === 200 ? true : undefined;
    });
    await pulls(fleet.node(1), image);
    assert.equal((await ask(fleet.node(1), image, 'v1')).headers['warning'], undefined);
    await fleet.upstream.registry.kill();
    const stale = await ask(fleet.node(2), image, 'v1');
    assert.equal(stale.status, 200, stale.body.toString());
    assert.match(stale.headers['warning'] ?? '', WARNING);
    await pulls(fleet.node(2), image);
    await pullsAgain(fleet.node(1), image);
    const other = `sha256:${'0'.repeat(64)}`;
    const unknown = await ask(fleet.node(1), image, other);
    assert.equal(unknown.status, 503, unknown.body.toString());
    assert.match(unknown.body.toString(), /docker\.io/);
  });

  test('until it is back: then its word counts, and a tag that has moved is pulled', async () => {
    await fleet.upstream.registry.start();
    const moved = await fleet.upstream.offer('gone', [7 * MIB], 'v2');
    await until('the tag as it is now', AGAIN_TIMEOUT_MS, async () => {
      const { headers } = await ask(fleet.node(1), moved, 'v1');
      const isNew = headers['docker-content-digest'] === moved.added.digest;
      return isNew && headers['warning'] === undefined ? true : undefined;
    });
    for (const node of fleet.nodes) await pulls(node, moved);
  });
});

/** GET of a manifest at the agent, as containerd asks for it. */
async function ask(
  { machine, worker }: FleetNode,
  image: UpstreamImage,
  reference: string,
): Promise<HttpAnswer> {
  const base = `http://${machine.loopbackHost}:${MIRROR_PORT}/v2/${image.repository}`;
  return await worker.http(`${base}/manifests/${reference}?ns=docker.io`);
}
