import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkBody } from '../../proto/hubapi/body.ts';
import { MembersResponse } from '../../proto/hubapi/schemas.ts';
import { verifyMembership } from '../../proto/trust/membership.ts';
import { TestAgent, TestHub } from './fleet-fixture.ts';

test('who knows a version is told what changed since, who does not the whole', async (t) => {
  const hub = await TestHub.start(t);
  const agents = ['a', 'b', 'c', 'd'].map((node) => [node, new TestAgent()] as const);
  const [, asker = new TestAgent()] = agents[0] ?? [];
  const ask = async (query: string) => {
    const { body } = await hub.call(asker, 'members', undefined, { query });
    const { version, since, memberships, revokedSerials } = checkBody(MembersResponse, body);
    const nodes = memberships?.map((text) => {
      const clock = { nowMs: hub.nowMs, fleetId: hub.fleet.fleetId };
      return verifyMembership(Buffer.from(text, 'base64'), hub.trust, clock).node;
    });
    return { version, since, nodes: nodes?.toSorted(), revoked: revokedSerials?.length };
  };
  for (const [node, agent] of agents.slice(0, 2)) await hub.enrol(agent, node);
  const { version: known } = await ask('');
  for (const [node, agent] of agents.slice(2)) await hub.enrol(agent, node);
  const { version } = await ask('');
  const all = { version, since: undefined, nodes: ['a', 'b', 'c', 'd'], revoked: 0 };
  assert.deepEqual(await ask(`?version=${known}`), all, 'an agent of an earlier version');
  const delta = `?version=${known}&delta=1`;
  assert.deepEqual(await ask(delta), { version, since: known, nodes: ['c', 'd'], revoked: 0 });
  for (const unknown of ['0', '999', 'x', '']) {
    assert.deepEqual(await ask(`?version=${unknown}&delta=1`), all);
  }
  await hub.fleet.revokeNode('c');
  const later = await ask(delta);
  assert.deepEqual([later.since, later.nodes, later.revoked], [known, ['d'], 1]);
});

test('who knows the list is told of the upstreams all the same', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  await hub.enrol(agent, 'a');
  const ask = async (query: string) =>
    checkBody(MembersResponse, (await hub.call(agent, 'members', undefined, { query })).body);
  const { version } = await ask('');
  const { upstreams, memberships } = await ask(`?version=${version}`);
  assert.equal(memberships, undefined);
  assert.deepEqual(upstreams, [{ name: 'docker.io', alias: 'dockerhub' }]);
});
