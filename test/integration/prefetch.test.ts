import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { Agent } from '../../agent/agent.ts';
import {
  PrefetchAnswer,
  PrefetchNodeList,
  PrefetchPolicyAnswer,
} from '../../proto/hubapi/prefetch.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import { commandAt, type Outcome } from '../rig/command-line.ts';
import { until } from '../rig/until.ts';
import { ADMIN, LoopbackFleet, metricsOf, pull } from './loopback-fleet.ts';
import type { TestImage } from './loopback-fleet.ts';

const MIB = 1024 * 1024;
const WAIT_MS = 60_000;
const ADA = { username: 'ada', password: 'long enough for ada' };
const EVE = { username: 'eve', password: 'long enough for eve' };
const ZONES = { n1: 'a', n2: 'a', n3: 'b', n4: 'b' };

let fleet: LoopbackFleet;
before(async () => {
  fleet = await LoopbackFleet.start(3, { fleet: { zones: ZONES } });
  for (const { username: name, password } of [ADA, EVE]) {
    await fleet.api('POST', '/accounts', { name, password });
  }
  await fleet.api('POST', '/projects', { name: 'own', visibility: 'private' });
  await fleet.api('PUT', '/projects/own/members/ada', { role: 'maintainer' });
});
after(() => fleet[Symbol.asyncDispose]());

type Login = typeof ADA;

async function order(wish: object, login?: Login): Promise<PrefetchAnswer> {
  const { status, text } = await fleet.ask('POST', '/prefetches', wish, login);
  assert.equal(status, 201, text);
  return checkBody(PrefetchAnswer, JSON.parse(text));
}

async function show(id: string): Promise<PrefetchAnswer> {
  return checkBody(PrefetchAnswer, JSON.parse((await fleet.ask('GET', `/prefetches/${id}`)).text));
}

async function nodesOf(id: string): Promise<PrefetchNodeList['nodes']> {
  const { text } = await fleet.ask('GET', `/prefetches/${id}/nodes`);
  return checkBody(PrefetchNodeList, JSON.parse(text)).nodes;
}

function settled(id: string): Promise<PrefetchAnswer> {
  return until('the order is through', WAIT_MS, async () => {
    const answer = await show(id);
    return answer.settled ? answer : undefined;
  });
}

function agentOf(node: string): Agent {
  const agent = fleet.agents.find((one) => fleet.nameOf(one) === node);
  assert.ok(agent, node);
  return agent;
}

/** Bytes a node has received of others, whatever for. */
async function receivedBy(agent: Agent): Promise<number> {
  const metrics = await metricsOf(agent.opsUrls[0]);
  const name = 'flotilla_agent_fetched_bytes_total';
  return metrics.sum(name, { source: 'peer' }) + metrics.sum(name, { source: 'hub' });
}

/** What a pull costs a node of others' bytes. */
async function costOf(agent: Agent, image: TestImage): Promise<number> {
  const earlier = await receivedBy(agent);
  await pull(agent, image);
  return (await receivedBy(agent)) - earlier;
}

test('an image is on the nodes of a zone before a runtime asks, and on no others', async () => {
  const image = await fleet.push('team/app', 'v1', [randomBytes(9 * MIB), randomBytes(70_000)]);
  const { id } = await order({ image: 'team/app:v1', nodes: 'zone=a' });
  const { counts, result } = await settled(id);
  assert.deepEqual(counts, { queued: 0, running: 0, done: 2, failed: 0, unreached: 0 });
  assert.equal(result, 'done');
  const nodes = await nodesOf(id);
  assert.deepEqual(
    nodes.map(({ node, state }) => `${node} ${state}`),
    ['n1 done', 'n2 done'],
  );
  assert.ok(nodes.every((one) => one.totalBytes > 9 * MIB && one.doneBytes === one.totalBytes));
  assert.equal(await costOf(agentOf('n1'), image), 0);
  assert.equal(await costOf(agentOf('n2'), image), 0);
  assert.ok((await costOf(agentOf('n3'), image)) >= 9 * MIB);
});

test('the command tells how far each node is, and names those it was not on', async () => {
  await fleet.push('team/cli', 'v1', [randomBytes(5 * MIB)]);
  const words = ['prefetch', 'team/cli:v1', '--nodes', 'zone=a', '--wait'];
  const good = await flotilla(...words);
  assert.deepEqual([good.code, good.err], [0, '']);
  assert.match(good.out, /^n1\tdone\t100 %\t5MiB of 5MiB$/m);
  assert.match(good.out, /^order [0-9a-f]+: on 2 of 2 nodes$/m);
  const { code, out } = await flotilla('prefetch', 'list');
  assert.match(out, /\tteam\/cli:v1\tzone=a\tdone\t-$/m);
  const [id = ''] = out.split('\t');
  assert.equal(code, 0);
  assert.match((await flotilla('prefetch', 'show', id)).out, /^n2\tdone\t/m);
  const ended = await flotilla('prefetch', 'stop', id);
  assert.deepEqual([ended.code, ended.err.includes('has ended already')], [1, true]);
  const unknown = await flotilla('prefetch', 'team/cli:v9');
  assert.deepEqual([unknown.code, unknown.err.includes('no such image')], [1, true]);
  const nobody = await flotilla('prefetch', 'team/cli:v1', '--nodes', 'zone=c');
  assert.match(nobody.err, /no member of the fleet fits zone=c; there are zones a, b/);
  const odd = await flotilla('prefetch', 'team/cli:v1', '--percent', '0');
  assert.deepEqual([odd.code, odd.err.includes('--percent takes')], [2, true]);
});

test('a part of the nodes is chosen, the same each time, and nothing is sent twice', async () => {
  await fleet.push('team/part', 'v1', [randomBytes(6 * MIB)]);
  const [first, second] = [
    await order({ image: 'hub.test/team/part:v1', percent: 34 }),
    await order({ image: 'team/part:v1', percent: 34 }),
  ];
  await settled(first.id);
  const chosen = (await nodesOf(first.id)).map(({ node }) => node);
  assert.equal(chosen.length, 2);
  await settled(second.id);
  assert.deepEqual(
    (await nodesOf(second.id)).map(({ node }) => node),
    chosen,
  );
  const held = await metricsOf(agentOf(chosen[0] ?? '').opsUrls[0]);
  assert.equal(held.sum('flotilla_agent_prefetch_images_total', { result: 'held' }), 1);
});

test('a node that is away is named, and gets it when it is back', async () => {
  await fleet.push('team/away', 'v1', [randomBytes(5 * MIB)]);
  const away = await fleet.addAgent('n4');
  await away.close();
  const { id } = await order({ image: 'team/away:v1', nodes: 'zone=b', reachMs: 8000 });
  const { counts } = await settled(id);
  assert.deepEqual([counts.done, counts.unreached], [1, 1]);
  const told = await flotilla('prefetch', 'show', id, '--wait');
  assert.equal(told.code, 1);
  assert.match(told.out, /: on 1 of 2 nodes; not on: n4$/m);
  const lost = (await nodesOf(id)).find(({ state }) => state === 'unreached');
  assert.equal(lost?.node, 'n4');
  assert.match(lost.reason, /not been heard of/);
  assert.equal((await show(id)).result, null, 'it is still wanted there');
  await fleet.restart(away);
  const done = await until('n4 has it', WAIT_MS, async () => {
    const answer = await show(id);
    return answer.result === 'done' ? answer : undefined;
  });
  assert.equal(done.counts.done, 2);
});

test('private content goes out by the right of who ordered it, until that ends', async () => {
  const image = await fleet.push('own/app', 'v1', [randomBytes(6 * MIB)]);
  const refused = await fleet.ask('POST', '/prefetches', { image: 'own/app:v1' }, EVE);
  assert.equal(refused.status, 404, refused.text);
  const { id } = await order({ image: 'own/app:v1', nodes: 'node=n1' }, ADA);
  assert.equal((await settled(id)).result, 'done');
  assert.equal((await fleet.ask('GET', `/prefetches/${id}`, undefined, EVE)).status, 404);
  // What the node has is no right of a runtime there.
  await assert.rejects(pull(agentOf('n1'), image), /manifest: 401/);

  await fleet.push('own/app', 'v2', [randomBytes(6 * MIB)]);
  await fleet.ask('PUT', '/projects/own/members/ada', { role: 'guest' });
  const guest = await fleet.ask('POST', '/prefetches', { image: 'own/app:v2' }, ADA);
  assert.equal(guest.status, 403, guest.text);
  await fleet.ask('PUT', '/projects/own/members/ada', { role: 'maintainer' });
  const n2 = agentOf('n2');
  await n2.close();
  const late = await order({ image: 'own/app:v2', nodes: 'node=n2' }, ADA);
  await fleet.ask('DELETE', '/projects/own/members/ada');
  await fleet.restart(n2);
  const { result } = await until('the order has ended', WAIT_MS, async () => {
    const answer = await show(late.id);
    return answer.result === null ? undefined : answer;
  });
  assert.equal(result, 'failed');
});

test('a stopped order ends what nodes fetch for it, and is not begun elsewhere', async () => {
  await fleet.push('team/long', 'v1', [randomBytes(40 * MIB)]);
  const slow = await fleet.addAgent('slow', { bandwidth: { link: '1MB', prefetch: 0.5 } });
  const { id } = await order({ image: 'team/long:v1', nodes: 'node=slow' });
  const running = await until('it is under way', WAIT_MS, async () => {
    const [one] = await nodesOf(id);
    return one?.state === 'running' && one.doneBytes > 0 ? one : undefined;
  });
  assert.ok(running.doneBytes < running.totalBytes);
  assert.equal((await fleet.ask('DELETE', `/prefetches/${id}`)).status, 204);
  await until('the node has stopped', WAIT_MS, async () => {
    const metrics = await metricsOf(slow.opsUrls[0]);
    const stopped = metrics.sum('flotilla_agent_downloads_total', { outcome: 'stopped' });
    return stopped === 1 ? true : undefined;
  });
  const { result, counts } = await show(id);
  assert.deepEqual([result, counts.unreached], ['stopped', 1]);
  assert.equal((await fleet.ask('DELETE', `/prefetches/${id}`)).status, 409);
  // What it has counts when it is ordered again.
  const again = await order({ image: 'team/long:v1', nodes: 'node=slow' });
  const resumed = await until('it goes on', WAIT_MS, async () => {
    const [one] = await nodesOf(again.id);
    return one !== undefined && one.doneBytes > 0 ? one : undefined;
  });
  assert.ok(resumed.doneBytes >= running.doneBytes);
  const anew = await fleet.restart(slow);
  await until('an agent that was started anew goes on', WAIT_MS, async () => {
    const metrics = await metricsOf(anew.opsUrls[0]);
    return metrics.sum('flotilla_agent_prefetch_running') === 1 ? true : undefined;
  });
  const [later] = await nodesOf(again.id);
  assert.ok(later !== undefined && later.doneBytes >= resumed.doneBytes);
  await fleet.ask('DELETE', `/prefetches/${again.id}`);
});

test('what does not fit is refused whole, and cold content makes room for what does', async () => {
  const small = await fleet.addAgent('small', { store: storeOf('small', '32MiB') });
  await fleet.push('team/big', 'v1', [randomBytes(20 * MIB), randomBytes(20 * MIB)]);
  const big = await order({ image: 'team/big:v1', nodes: 'node=small' });
  assert.equal((await settled(big.id)).result, 'failed');
  const [refused] = await nodesOf(big.id);
  assert.match(refused?.reason ?? '', /no room for 40/);
  assert.ok((await heldBy(small)) < MIB, 'none of its layers was begun');
  for (const tag of ['v1', 'v2', 'v3']) {
    await fleet.push('team/fits', tag, [randomBytes(12 * MIB)]);
    const { id } = await order({ image: `team/fits:${tag}`, nodes: 'node=small' });
    assert.equal((await settled(id)).result, 'done');
    assert.ok((await heldBy(small)) <= 32 * MIB);
  }
});

test('what policies want is ordered when it is pushed', async () => {
  const policy = { repository: 'team/*', tag: 'rel-*', onPush: true, nodes: 'zone=b', copies: 1 };
  await fleet.api('PUT', '/prefetch-policies/releases', policy);
  await fleet.push('team/policy', 'dev', [randomBytes(100_000)]);
  const image = await fleet.push('team/policy', 'rel-1', [randomBytes(5 * MIB)]);
  const answer = await until('it is ordered and there', WAIT_MS, async () => {
    const { text } = await fleet.ask('GET', '/prefetches');
    const list: { prefetches: { id: string; policy: string | null }[] } = JSON.parse(text);
    const [made, ...more] = list.prefetches.filter((one) => one.policy === 'releases');
    assert.equal(more.length, 0);
    const shown = made && (await show(made.id));
    return shown?.counts.done === 1 ? shown : undefined;
  });
  assert.deepEqual([answer.image, answer.digest], ['team/policy:rel-1', image.digest]);
  const { text } = await fleet.ask('GET', '/prefetch-policies/releases');
  assert.match(
    checkBody(PrefetchPolicyAnswer, JSON.parse(text)).note,
    /^ordered team\/policy:rel-1/,
  );
  assert.equal((await fleet.ask('DELETE', '/prefetch-policies/releases')).status, 204);
});

test('policies are made of files, told, run and deleted by command', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-policy-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'policy.yaml');
  const lines = ['name: nightly', 'repository: team/nightly', 'tag: v*', 'cron: 0 3 * * *'];
  await writeFile(file, [...lines, 'nodes: zone=b', ''].join('\n'));
  await fleet.push('team/nightly', 'v1', [randomBytes(50_000)]);
  assert.deepEqual(await flotilla('prefetch', 'put', file), { code: 0, out: '', err: '' });
  const { out } = await flotilla('prefetch', 'policies');
  assert.match(out, /^nightly\ton\tteam\/nightly:v\*\t0 3 \* \* \*\t\S+T03:00:00\S*\t$/m);
  const ran = await flotilla('prefetch', 'run', 'nightly');
  const [, id = ''] = /^order (\w+)$/m.exec(ran.out) ?? [];
  assert.match(ran.out, /^1 of 1 tags ordered$/m);
  assert.equal((await settled(id)).result, 'done');
  assert.match((await flotilla('prefetch', 'policy', 'nightly')).out, /"nodes": "zone=b"/);
  assert.equal((await flotilla('prefetch', 'delete', 'nightly')).code, 0);
  assert.equal((await flotilla('prefetch', 'run', 'nightly')).code, 1);
  const odd = await flotilla('prefetch', 'put');
  assert.deepEqual([odd.code, odd.err.includes('prefetch put takes FILE')], [2, true]);
});

function flotilla(...words: string[]): Promise<Outcome> {
  return commandAt({ url: fleet.hubUrl, password: ADMIN.password }, words);
}

function storeOf(node: string, quota: string): object {
  return { dataDir: `${fleet.folder}/${node}`, quota };
}

async function heldBy(agent: Agent): Promise<number> {
  const metrics = await metricsOf(agent.opsUrls[0]);
  return metrics.sum('flotilla_agent_store_bytes');
}
