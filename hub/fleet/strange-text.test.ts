import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { BLOB, download, MANIFEST, TestAgent, TestHub } from './fleet-fixture.ts';

const ENDPOINT = { addresses: [], libp2pPort: 7412, lanePort: 0, version: '0' };
const PLACE = { namespace: 'hub', repository: 'team/app' };

function announce(fields: object): object {
  return { full: false, downloads: [{ ...download({}), ...fields }] };
}

test('text that a database cannot hold is refused before anything looks it up', async (t) => {
  const hub = await TestHub.start(t);
  const agent = new TestAgent();
  await hub.enrol(agent, 'a');
  const token = await hub.fleet.createJoinToken();
  const enrol = { ...ENDPOINT, token, node: 'b', peerId: agent.peerId };
  const calls: [keyof typeof FLEET_PATHS, object][] = [
    ['enrol', { ...enrol, node: 'b\0' }],
    ['enrol', { ...enrol, version: '1\0' }],
    ['enrol', { ...enrol, token: `${token}\0` }],
    ['renew', { ...ENDPOINT, version: '\0' }],
    ['grants', { ...PLACE, digest: MANIFEST, repository: 'team\0/app' }],
    ['grants', { ...PLACE, digest: MANIFEST, namespace: 'hub\0' }],
    ['grants', { ...PLACE, digest: `${BLOB}\0` }],
    ['tags', { ...PLACE, tag: 'v1\0' }],
    ['tags', { ...PLACE, repository: '\0', tag: 'v1' }],
    ['announce', announce({ repository: 'team/app\0' })],
    ['announce', announce({ digest: `${BLOB}\0` })],
  ];
  for (const [call, body] of calls) {
    const { status, code } = await hub.call(agent, call, body);
    assert.deepEqual([status, code], [400, 'INVALID_BODY'], `${call} ${JSON.stringify(body)}`);
  }
});
