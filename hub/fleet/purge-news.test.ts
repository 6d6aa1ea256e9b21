import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkBody } from '../../proto/hubapi/body.ts';
import { MembersResponse } from '../../proto/hubapi/schemas.ts';
import { BLOB, TestAgent, TestHub } from './fleet-fixture.ts';

test('an agent is told what is taken down until it has acted; others are named', async (t) => {
  let list = { version: '', digests: [] as string[] };
  const hub = await TestHub.start(t, { purged: () => list });
  const [one, two, old] = [new TestAgent(), new TestAgent(), new TestAgent()];
  await hub.enrol(one, 'one');
  await hub.enrol(two, 'two');
  await hub.enrol(old, 'old');
  const poll = async (agent: TestAgent, query: string) => {
    const { body } = await hub.call(agent, 'members', undefined, { query });
    return checkBody(MembersResponse, body);
  };
  assert.equal((await poll(one, '?purged=')).purged, undefined);
  list = { version: 'a1', digests: [BLOB] };
  assert.deepEqual((await poll(one, '?purged=')).purged, list);
  const { version, memberships, purged } = await poll(one, '?purged=');
  assert.deepEqual(purged, list, 'told again until it has acted');
  assert.equal(memberships?.length, 3);
  assert.deepEqual(hub.fleet.unreachedByPurge(), ['old', 'one', 'two']);
  const acted = await poll(one, `?version=${version}&purged=a1`);
  assert.deepEqual([acted.version, acted.memberships], [version, undefined]);
  assert.equal(acted.purged, undefined);
  assert.equal((await poll(old, '')).purged, undefined, 'an agent of an earlier version');
  assert.deepEqual(hub.fleet.unreachedByPurge(), ['old', 'two']);
  assert.deepEqual(hub.fleet.unreachedByPurge(new Set([two.peerId])), ['old'], 'told another hub');
  await hub.fleet.revokeNode('old');
  assert.deepEqual(hub.fleet.unreachedByPurge(), ['two']);
});
