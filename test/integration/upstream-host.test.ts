import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request } from 'undici';
import { assertAway, UpstreamFleet } from './upstream-rig.ts';

const HOST = 'registry.example:5000';

test('an upstream with a port is called as configured, whoever tells of it', async (t) => {
  const on = await UpstreamFleet.start(t, { name: HOST });
  const image = on.offer('team/app', 'v1');
  await on.pull(image, 'v1');
  assert.equal((await on.askHub('GET', `team/app/manifests/${image.digest}`)).status, 200);
  const unknown = await on.askHub('GET', 'team/app/manifests/v2');
  assert.equal(unknown.status, 404);
  assert.match(unknown.text, /"registry\.example:5000 has no v2 /);
  await on.stopUpstream();
  for (const method of ['HEAD', 'GET'] as const) {
    const target = 'team/other/manifests/v1';
    assertAway(await on.ask(method, target), /asked again/, HOST);
    assertAway(await on.askHub(method, target), /asked again/, HOST);
  }
  const { body } = await request(`${on.fleet.hub.opsUrls[0]}/metrics`);
  const series = [...(await body.text()).matchAll(/^(\w+)\{.*\bupstream="([^"]*)"/gm)];
  const labelled = new Map(series.map(([, metric = '', upstream = '']) => [metric, upstream]));
  for (const part of ['requests', 'manifests', 'ingests', 'tags', 'pulls_avoided']) {
    assert.equal(labelled.get(`flotilla_hub_upstream_${part}_total`), HOST, part);
  }
  assert.deepEqual([...new Set(series.map(([, , upstream]) => upstream))], [HOST]);
});
