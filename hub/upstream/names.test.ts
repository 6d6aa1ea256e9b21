import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../registry/registry-fixture.ts';
import { Origin, startPullHub } from './pull-fixture.ts';

test('path prefix, alias and ns name the same image, one word too', async (t) => {
  const origin = await Origin.start(t);
  const { manifest, layer } = origin.putImage('library/nginx', 'latest');
  const { hub } = await startPullHub(t, [origin], { aliases: { 'docker.io': 'dockerhub' } });
  for (const [name, query] of [
    ['docker.io/library/nginx', ''],
    ['docker.io/nginx', ''],
    ['dockerhub/library/nginx', ''],
    ['dockerhub/nginx', ''],
    ['library/nginx', '?ns=docker.io'],
    ['nginx', '?ns=index.docker.io'],
    ['library/nginx', '?ns=registry-1.docker.io'],
  ]) {
    const answer = await hub.ask(`/v2/${name}/manifests/latest${query}`, { authorization: '' });
    assert.equal(answer.status, 200, `${name}${query}`);
    assert.equal(answer.headers['docker-content-digest'], manifest);
    const asked = new URLSearchParams(query).get('ns') ?? undefined;
    assert.equal(answer.headers['oci-namespace'], asked);
    const blob = await hub.ask(`/v2/${name}/blobs/${layer}${query}`, { authorization: '' });
    assert.equal(blob.status, 200);
  }
  assert.equal(origin.count('GET', 'manifests'), 1, 'one counted pull for all of them');
  assert.equal(origin.count('GET', layer), 1);
  const { repositories } = JSON.parse((await hub.ask('/v2/_catalog')).body.toString());
  assert.deepEqual(repositories, ['docker.io/library/nginx']);
});

test('rights are those of the project of the upstream, whatever name was used', async (t) => {
  const origin = await Origin.start(t);
  origin.putImage('library/nginx', 'latest');
  const { hub } = await startPullHub(t, [origin], { visibility: 'private' });
  for (const name of ['docker.io/nginx', 'library/nginx']) {
    const query = name.includes('.') ? '' : '?ns=docker.io';
    const answer = await hub.ask(`/v2/${name}/manifests/latest${query}`, { authorization: '' });
    assertRefused(answer, 401, 'UNAUTHORIZED');
    const challenge = String(answer.headers['www-authenticate']);
    assert.match(challenge, /scope="repository:docker\.io\/library\/nginx:pull"/);
  }
  assert.equal(origin.asked.length, 0, 'nothing is asked for strangers');
  assert.equal((await hub.ask('/v2/docker.io/nginx/manifests/latest')).status, 200);
});

test('nothing is pushed to an upstream or deleted, and strange hosts are unknown', async (t) => {
  const origin = await Origin.start(t, 'docker.io', { repositories: ['library/**'] });
  const { manifest } = origin.putImage('library/nginx', 'latest');
  const { hub } = await startPullHub(t, [origin], { aliases: { 'docker.io': 'dockerhub' } });
  for (const name of ['docker.io/library/nginx', 'dockerhub/nginx']) {
    const started = await hub.ask(`/v2/${name}/blobs/uploads/`, { method: 'POST' });
    assertRefused(started, 403, 'DENIED');
    const gone = await hub.ask(`/v2/${name}/manifests/${manifest}`, { method: 'DELETE' });
    assertRefused(gone, 403, 'DENIED');
  }
  const pushed = await hub.ask('/v2/nginx/blobs/uploads/?ns=docker.io', { method: 'POST' });
  assertRefused(pushed, 403, 'DENIED');
  for (const target of [
    'ghcr.io/team/app/manifests/latest',
    'team/app/manifests/latest?ns=ghcr.io',
    'docker.io/team/app/manifests/latest',
  ]) {
    assertRefused(await hub.ask(`/v2/${target}`), 404, 'NAME_UNKNOWN');
  }
});

test("the hub's own repositories are what they were, with its own name as ns too", async (t) => {
  const origin = await Origin.start(t);
  origin.putImage('team/app', 'v1');
  const { hub } = await startPullHub(t, [origin], { names: ['hub.example'] });
  const layer = await hub.push(Buffer.from('own'));
  const put = await hub.putManifest('v1', {
    schemaVersion: 2,
    layers: [],
    config: { mediaType: 'application/octet-stream', digest: layer, size: 3 },
  });
  assert.equal(put.status, 201, put.body.toString());
  for (const query of ['', '?ns=hub.example']) {
    const answer = await hub.ask(`/v2/team/app/manifests/v1${query}`);
    assert.match(answer.body.toString(), new RegExp(layer));
    assert.equal((await hub.ask(`/v2/team/app/blobs/${layer}${query}`)).body.toString(), 'own');
  }
  assert.equal(origin.asked.length, 0);
});
