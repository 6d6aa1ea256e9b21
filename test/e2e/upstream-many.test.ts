import assert from 'node:assert/strict';
import { setPriority } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { Fleet, type FleetNode } from '../rig/fleet.ts';
import { MIRROR_PORT } from '../rig/flotilla.ts';
import { fetchedBytes } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import { scale } from '../rig/scale.ts';
import { until } from '../rig/until.ts';
import { UPSTREAM_NAME, type UpstreamImage } from '../rig/upstream.ts';
import type { HttpAnswer } from '../rig/worker.ts';

/** The layers, in eighths of the image: so small that a chunk is one leaf. */
const EIGHTHS = [4, 2, 1, 1];
const LAYERS = EIGHTHS.map((part) => (part * scale.coldImageBytes) / 8);
const MBIT = 200;
const TIMEOUT_MS = 5 * 60_000;
/** Shares of the image after which is looked at what agents have of each other. */
const LOOKS = [1 / 4, 1 / 2, 3 / 4, 7 / 8];
const TRIES_MAX = 30;
const RETRY_MS = 1000;

describe('many agents that ask for one cold image', { skip: missingFor('openssl') }, () => {
  let fleet: Fleet;
  before(async () => {
    const changes = { log: { level: 'info' } };
    fleet = await Fleet.start({
      nodes: scale.coldAgents,
      // So many real ones would need three copies of the image on disk for each agent.
      containerd: false,
      agentChanges: changes,
      hubChanges: changes,
      upstream: {},
    });
    for (const { agent } of fleet.nodes) setPriority(agent.running.pid, scale.coldAgentPriority);
    await fleet.upstream.machine.shape(MBIT);
  });
  after(async () => fleet[Symbol.asyncDispose]());

  test('exchange it before the hub has it; the upstream sends one copy', async (t) => {
    const { registry } = fleet.upstream;
    const { length: agents } = fleet.nodes;
    const image = await fleet.upstream.offer('many', LAYERS);
    const sentByHub = async (): Promise<number> => (await fleet.hub.machine.traffic()).sentBytes;
    const earlier = await sentByHub();
    const startMs = Date.now();
    const again: string[] = [];
    const pulls = fleet.nodes.map((node) => pullsPlain(node, image, again));
    // An agent that is still asked would take long to stop.
    const settled = Promise.allSettled(pulls);
    const [early] = await Promise.allSettled([exchangedBefore(fleet, image), settled]);
    assert.ok(early.status === 'fulfilled', messageOf(Object(early).reason));
    await Promise.all(pulls);
    const ms = Date.now() - startMs;
    const hubCopies = ((await sentByHub()) - earlier) / image.bytes;
    const report = await registry.report();
    assert.deepEqual(
      report.blobs,
      Object.fromEntries(
        [image.config, ...image.layers].map(({ digest, size }) => [
          digest,
          { gets: 1, bytes: size },
        ]),
      ),
    );
    const of = (digest: string) => report.manifests[digest] ?? { gets: 0, heads: 0 };
    const [index, manifest] = [of(image.added.digest), of(image.manifestDigest)];
    assert.deepEqual([index.gets, manifest.gets, Object.keys(report.manifests).length], [1, 1, 2]);
    assert.ok(index.heads > 0, 'the tag was asked by HEAD');
    assert.deepEqual(Object.values(report.counted), [2], 'one counted pull for each manifest');
    const { exchanged, sent: atBytes } = early.value;
    const chunks = Math.floor(exchanged / LEAF_BYTES);
    assert.ok(chunks >= agents, `${chunks} chunks exchanged at ${atBytes} bytes`);
    const figures = { agents, bytes: image.bytes, ms, hubCopies, chunks, atBytes };
    t.diagnostic(JSON.stringify({ ...figures, again: again.length }));
  });
});

/** What agents had of each other the last time we looked before the upstream had sent all of it. */
async function exchangedBefore(
  { nodes, upstream }: Fleet,
  image: UpstreamImage,
): Promise<{ sent: number; exchanged: number }> {
  const sent = async (): Promise<number> => {
    const { blobs } = await upstream.registry.report();
    return Object.values(blobs).reduce((sum, { bytes }) => sum + bytes, 0);
  };
  let last = { sent: 0, exchanged: 0 };
  for (const share of LOOKS) {
    await until(`${share} of the image at the hub`, TIMEOUT_MS, async () =>
      (await sent()) > image.bytes * share ? true : undefined,
    );
    const counts = await Promise.all(nodes.map((node) => fetchedBytes(node, 'peer')));
    const now = await sent();
    if (now >= image.bytes) break;
    last = { sent: now, exchanged: counts.reduce((sum, count) => sum + count, 0) };
  }
  return last;
}

/**
 * A plain client asks the node's agent for what containerd asks for, and checks every byte. Where
 * that comes too late on a busy machine it asks again, as a kubelet does.
 */
async function pullsPlain(
  { machine, worker }: FleetNode,
  image: UpstreamImage,
  again: string[],
): Promise<void> {
  const base = `http://${machine.loopbackHost}:${MIRROR_PORT}/v2/${image.repository}`;
  const ask = async (target: string, method = 'GET'): Promise<HttpAnswer> => {
    const url = `${base}/${target}?ns=${UPSTREAM_NAME}`;
    const options = { method, headers: { accept: '*/*' }, timeoutMs: TIMEOUT_MS };
    for (let left = TRIES_MAX; ; left -= 1) {
      const answer = await worker.http(url, options).catch(messageOf);
      if (typeof answer !== 'string' && answer.status === 200) return answer;
      const reason =
        typeof answer === 'string' ? answer : `${answer.status} ${String(answer.body)}`;
      again.push(reason);
      if (left <= 1) assert.fail(`${machine.name} got no ${target}: ${reason}`);
      await delay(RETRY_MS);
    }
  };
  const tag = await ask('manifests/v1', 'HEAD');
  assert.equal(tag.headers['docker-content-digest'], image.added.digest, machine.name);
  const right = async (kind: string, digest: string): Promise<void> => {
    const { bodySha256 } = await ask(`${kind}/${digest}`);
    assert.equal(`sha256:${bodySha256}`, digest, machine.name);
  };
  for (const digest of [image.added.digest, image.manifestDigest]) await right('manifests', digest);
  await Promise.all([image.config, ...image.layers].map(({ digest }) => right('blobs', digest)));
}
