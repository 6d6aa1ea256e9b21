import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import type { Fleet } from './fleet.ts';
import { Bench, TestPeer, until } from './test-bench.ts';
import { TestHub } from './test-hub.ts';

test('a node follows what the hub has of other registries, restarts included', async () => {
  await using bench = new Bench();
  const hub = await new TestHub().start();
  const { peerId } = await new TestPeer().load();
  const other = hub.membership({ peerId, node: 'other' }).toString('base64');
  const quay = { name: 'quay.io', alias: 'quay' };
  // The second answer says nothing of upstreams, as that of an earlier version does.
  const answers = [
    { version: 1, upstreams: [{ name: 'docker.io' }] },
    { version: 1 },
    { version: 1, upstreams: [quay] },
    { version: 2, memberships: [other], revokedSerials: [] },
  ];
  const seen: string[] = [];
  let fleet: Fleet | undefined;
  hub.handlers[FLEET_PATHS.members] = () => {
    seen.push(fleet?.hubUpstreams.map(({ name }) => name).join() ?? '');
    return { body: answers.shift() ?? { version: 2 } };
  };
  fleet = await bench.enrolled({ url: hub.url, joinToken: hub.joinToken(), pollMs: 20 });
  await until(fleet, () => fleet.members.version === 2);
  assert.deepEqual(seen.slice(1, 4), ['docker.io', 'docker.io', 'quay.io']);
  await bench.stop();
  await hub[Symbol.asyncDispose]();

  const again = await bench.open({ url: hub.url });
  assert.deepEqual(again?.hubUpstreams, [quay]);
});
