import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { request } from 'undici';
import type { Agent } from '../../agent/agent.ts';
import { fetchDigest, HUB_NAME, LoopbackFleet, metricsOf, pull } from './loopback-fleet.ts';
import type { TestImage } from './loopback-fleet.ts';

const MIB = 1024 * 1024;
const LAYERS = [randomBytes(24 * MIB + 7), randomBytes(100_000)];

let fleet: LoopbackFleet;
let first: Agent;
let second: Agent;
let image: TestImage;
let robot: string;
before(async () => {
  fleet = await LoopbackFleet.start(2);
  const [one, two] = fleet.agents;
  assert.ok(one && two);
  [first, second] = [one, two];
  await fleet.api('POST', '/projects', { name: 'own', visibility: 'private' });
  image = await fleet.push('own/app', 'v1', LAYERS);
  robot = await robotOf('pods');
});
after(() => fleet[Symbol.asyncDispose]());

/** The Basic header of a new robot that pulls. */
async function robotOf(name: string): Promise<string> {
  const permissions = [{ repository: 'own/**', actions: ['pull'] }];
  const made = await fleet.api('POST', '/projects/own/robots', { name, permissions });
  const { login, secret } = made;
  return `Basic ${Buffer.from(`${login}:${secret}`).toString('base64')}`;
}

/** A token as a runtime gets it with the pull secret of a pod, or without one. */
async function tokenFor(authorization: string | undefined): Promise<string> {
  const query = new URLSearchParams({ service: 'flotilla', scope: 'repository:own/app:pull' });
  const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
  const answer = await request(`${fleet.hubUrl}/api/token?${query.toString()}`, { headers });
  const { token }: { token: string } = JSON.parse(await answer.body.text());
  return `Bearer ${token}`;
}

function urlsOn(agent: Agent): string[] {
  const base = `${agent.mirrorUrls[0]}/v2/own/app`;
  const parts = ['manifests/v1', `manifests/${image.digest}`];
  const blobs = image.blobs.map(({ digest }) => `blobs/${digest}`);
  return [...parts, ...blobs].map((part) => `${base}/${part}?ns=${HUB_NAME}`);
}

async function assertShut(agent: Agent, headers: Record<string, string>): Promise<void> {
  for (const url of urlsOn(agent)) {
    const answer = await fetchDigest(url, headers);
    assert.equal(answer.status, 401, url);
    const realm = `Bearer realm="${fleet.hubUrl}/api/token",service="flotilla"`;
    assert.ok(answer.challenge?.startsWith(realm), answer.challenge);
  }
}

test('pods with the right share private layers over the swarm, each node for itself', async () => {
  await assertShut(first, {});
  await pull(first, image, { authorization: await tokenFor(robot) });
  const sentOnce = (await fleet.hubMetrics()).sum('flotilla_hub_blob_sent_bytes_total');
  await pull(second, image, { authorization: await tokenFor(robot) });
  const sent = (await fleet.hubMetrics()).sum('flotilla_hub_blob_sent_bytes_total') - sentOnce;
  const peers = await metricsOf(second.opsUrls[0]);
  const fromPeers = peers.sum('flotilla_agent_fetched_bytes_total', { source: 'peer' });
  assert.ok(fromPeers > image.bytes / 2, `${fromPeers} bytes from the other node`);
  assert.ok(sent < image.bytes, `${sent} bytes from the hub`);
});

test('a pod without the right gets 401 with the realm of the hub from a node with it', async () => {
  await pull(first, image, { authorization: await tokenFor(robot) });
  for (const agent of [first, second]) {
    await assertShut(agent, {});
    await assertShut(agent, { authorization: await tokenFor(undefined) });
    await assertShut(agent, { authorization: 'Bearer x.y.z' });
    await assertShut(agent, { authorization: 'Basic d3Jvbmc6d3Jvbmc=' });
  }
  await pull(first, image, { authorization: await tokenFor(robot), by: 'digest' });
});

test('what a node has is served to who may read it without asking the hub for bytes', async () => {
  const authorization = await tokenFor(robot);
  await pull(first, image, { authorization });
  const earlier = (await fleet.hubMetrics()).sum('flotilla_hub_blob_sent_bytes_total');
  await pull(first, image, { authorization: await tokenFor(robot) });
  const sent = (await fleet.hubMetrics()).sum('flotilla_hub_blob_sent_bytes_total') - earlier;
  assert.equal(sent, 0);
});

test('a robot that was disabled gets no grant and no token any more', async () => {
  const authorization = await robotOf('short');
  const token = await tokenFor(authorization);
  await fleet.api('PATCH', '/projects/own/robots/short', { disabled: true });
  const manifest = urlsOn(second)[0] ?? '';
  assert.equal((await fetchDigest(manifest, { authorization: token })).status, 401);
});

test('a project made private is shut for pods without credentials', async () => {
  const open = await fleet.push('open/app', 'v1', [randomBytes(6 * MIB)]);
  await pull(first, open);
  await fleet.api('PATCH', '/projects/open', { visibility: 'private' });
  const tag = `${first.mirrorUrls[0]}/v2/open/app/manifests/v1?ns=${HUB_NAME}`;
  assert.equal((await fetchDigest(tag)).status, 401);
  const fresh = `${second.mirrorUrls[0]}/v2/open/app/blobs/${open.blobs[1]?.digest}?ns=${HUB_NAME}`;
  assert.equal((await fetchDigest(fresh)).status, 401);
});
