import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { checkBody } from '../../proto/hubapi/body.ts';
import { TagResponse } from '../../proto/hubapi/schemas.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { verifyTagStatement } from '../../proto/trust/tag-statement.ts';
import type { TagStatement } from '../../proto/trust/tag-statement.ts';
import { TAG_STATEMENT_CACHE_MS } from './constants.ts';
import { MANIFEST, TestAgent, TestHub } from './fleet-fixture.ts';

const NAME = { namespace: 'hub', repository: 'team/app', tag: 'v1' };
const OTHER = digestOf(Buffer.from('another manifest'));

async function start(t: TestContext): Promise<{ hub: TestHub; agent: TestAgent }> {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  assert.equal((await hub.enrol(agent, 'a')).status, 200);
  hub.tags.set('team/app:v1', MANIFEST);
  return { hub, agent };
}

async function stated(hub: TestHub, agent: TestAgent): Promise<TagStatement> {
  const { status, body } = await hub.call(agent, 'tags', NAME);
  assert.equal(status, 200);
  const bytes = Buffer.from(checkBody(TagResponse, body).statement, 'base64');
  return verifyTagStatement(bytes, hub.trust, { nowMs: hub.nowMs, fleetId: hub.fleet.fleetId });
}

test('a member gets the signed word of what a public tag names', async (t) => {
  const { hub, agent } = await start(t);
  const { fleetId } = hub.fleet;
  const statement = await stated(hub, agent);
  assert.deepEqual(statement, { ...NAME, fleetId, digest: MANIFEST, timeMs: hub.nowMs });
  assert.equal(await hub.metric('fleet_tag_statements_total', { result: 'signed' }), 1);
});

test('a tag that moves, and moves back, gets a later statement each time', async (t) => {
  const { hub, agent } = await start(t);
  const seen = [await stated(hub, agent)];
  for (const digest of [OTHER, MANIFEST, MANIFEST]) {
    hub.tags.set('team/app:v1', digest);
    // oxlint-disable-next-line no-await-in-loop -- in order
    seen.push(await stated(hub, agent));
  }
  assert.deepEqual(
    seen.map(({ digest }) => digest),
    [MANIFEST, OTHER, MANIFEST, MANIFEST],
  );
  const [first, second, third, fourth] = seen.map(({ timeMs }) => timeMs);
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  assert.ok(first < second && second < third);
  assert.equal(fourth, third, 'one statement serves many agents');
  hub.wait(TAG_STATEMENT_CACHE_MS);
  assert.equal((await stated(hub, agent)).timeMs, hub.nowMs, 'for a moment');
});

test('nothing is stated of names that are private, foreign, unknown or gone', async (t) => {
  const { hub, agent } = await start(t);
  hub.tags.set('private/app:v1', MANIFEST);
  await stated(hub, agent);
  hub.tags.delete('team/app:v1');
  for (const ask of [
    { ...NAME, repository: 'private/app' },
    { ...NAME, namespace: 'docker.io' },
    { ...NAME, tag: 'v2' },
    { ...NAME, tag: 'no tag' },
    NAME,
  ]) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    const reply = await hub.call(agent, 'tags', ask);
    assert.deepEqual([reply.status, reply.code], [404, 'NOT_FOUND'], JSON.stringify(ask));
  }
});

test('a stranger is told nothing of tags', async (t) => {
  const { hub } = await start(t);
  const reply = await hub.call(new TestAgent(), 'tags', NAME);
  assert.deepEqual([reply.status, reply.code], [403, 'NOT_A_MEMBER']);
});
