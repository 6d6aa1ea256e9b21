import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkBody } from '../../proto/hubapi/body.ts';
import type { PrefetchRequest } from '../../proto/hubapi/prefetch.ts';
import { MembersResponse } from '../../proto/hubapi/schemas.ts';
import { TestAgent, TestHub } from './fleet-fixture.ts';

const QUIET: PrefetchRequest = { reports: [], ready: true };

test('every answer about members tells a node of its work, and no other node', async (t) => {
  const told: object[] = [];
  const hub = await TestHub.start(t, {
    purged: () => ({ version: 'abc', digests: [] }),
    prefetch: {
      hasWork: async (node) => node === 'busy',
      answer: async (caller, request) => {
        told.push({ node: caller.node, peerId: caller.peerId, request });
        return { intervalMs: 1000, stop: [] };
      },
    },
  });
  const [busy, idle] = [new TestAgent(), new TestAgent()];
  await hub.enrol(busy, 'busy');
  const { version: first } = await members(hub, busy, '');
  await hub.enrol(idle, 'idle');
  const { version } = await members(hub, busy, '');
  const queries = ['', `?version=${version}`, `?version=${first}&delta=1`, '?purged='];
  for (const query of queries) {
    const work = await members(hub, busy, query);
    assert.equal(work.prefetch, true, query);
    const { prefetch, ...rest } = await members(hub, idle, query);
    assert.equal(prefetch, undefined, query);
    assert.deepEqual({ ...rest, prefetch: true }, work, 'it is the same but for that');
  }
  const { status } = await hub.call(busy, 'prefetch', QUIET);
  assert.equal(status, 200);
  assert.deepEqual(told, [{ node: 'busy', peerId: busy.peerId, request: QUIET }]);
  const stranger = await hub.call(new TestAgent(), 'prefetch', QUIET);
  assert.deepEqual([stranger.status, stranger.code], [403, 'NOT_A_MEMBER']);
  assert.equal((await hub.call(busy, 'prefetch', { reports: 7 })).code, 'INVALID_BODY');
});

test('a hub that orders nothing says so, and its members hear of nothing', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  await hub.enrol(agent, 'a');
  assert.equal((await members(hub, agent, '')).prefetch, undefined);
  assert.equal((await hub.call(agent, 'prefetch', QUIET)).code, 'NOT_FOUND');
});

async function members(hub: TestHub, agent: TestAgent, query: string): Promise<MembersResponse> {
  return checkBody(MembersResponse, (await hub.call(agent, 'members', undefined, { query })).body);
}
