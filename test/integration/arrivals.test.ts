import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Origin } from '../../hub/upstream/pull-fixture.ts';
import { TestHub } from '../registry/test-hub.ts';
import { replicationRig, someBytes } from '../replication/rig.ts';
import { missingDockerRegistry } from '../rig/docker-registry.ts';
import { until } from '../rig/until.ts';

// Tags that no client has pushed. Without nodes, what a policy says of them is that there are none.

const TOLD_MS = 20_000;
const NOBODY = 'the fleet has no members';

/** What a policy that follows pushes said last, once that is another thing than before. */
function told(hub: TestHub, before = ''): Promise<string> {
  return until('the policy has said something', TOLD_MS, async () => {
    const { json } = await hub.api('GET', '/prefetch-policies/edge');
    return json['note'] === before ? undefined : String(json['note']);
  });
}

async function follow(hub: TestHub, repository: string): Promise<void> {
  const policy = { repository, tag: 'v*', onPush: true };
  const made = await hub.api('PUT', '/prefetch-policies/edge', policy);
  assert.equal(made.status, 200, made.body.toString());
}

test(
  'what is copied from another registry goes to nodes as if it were pushed',
  { skip: missingDockerRegistry() },
  async (t) => {
    const { hub, there, rule, run } = await replicationRig(t);
    await there.image('team/app', 'v1', [someBytes(100)]);
    await there.image('team/app', 'dev', [someBytes(100)]);
    await follow(hub, 'team/*');
    await rule('in', { direction: 'pull', repositories: ['team/app'] });
    await run('in');
    assert.equal(await told(hub), `team/app:v1: ${NOBODY}`);
  },
);

test('a tag that moves upstream goes to nodes once it is seen here', async (t) => {
  const origin = await Origin.start(t);
  origin.tellsDigest = false;
  origin.putImage('library/app', 'v1');
  const upstreams = [{ name: 'docker.io', url: origin.url, freshness: 'always' }];
  await using hub = await TestHub.start({ upstreams });
  await follow(hub, 'docker.io/library/*');
  const pull = async (tag: string): Promise<void> => {
    const path = `/v2/docker.io/library/app/manifests/${tag}`;
    assert.equal((await hub.ask(path)).status, 200);
  };
  await pull('v1');
  const first = `docker.io/library/app:v1: ${NOBODY}`;
  assert.equal(await told(hub), first);
  origin.putImage('library/app', 'v2');
  // One that is the same is no news, also when its upstream tells no digest beforehand.
  await pull('v1');
  await pull('v2');
  assert.equal(await told(hub, first), `docker.io/library/app:v2: ${NOBODY}`);
  assert.equal(await hub.metric('prefetch_policy_runs_total{result="refused"}'), 2);
});
