import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRepository } from '../../proto/oci/name.ts';
import type { Upstream } from './port.ts';
import { segmentOf } from '../../proto/oci/name.ts';
import { UpstreamSet } from './upstreams.ts';

const POLICY = {
  freshness: { kind: 'always' },
  staleMaxAgeMs: 0,
  negativeMs: 0,
  onDeleted: 'keep',
  provisional: 'readers',
} as const;

const unasked = (): never => assert.fail('names are found without asking');

function fake(name: string): Upstream {
  return {
    name,
    host: name,
    headManifest: unasked,
    getManifest: unasked,
    headBlob: unasked,
    openBlob: unasked,
    tags: unasked,
    referrers: unasked,
  };
}

function set(...all: { host: string; alias?: string; repositories?: string[] }[]): UpstreamSet {
  return new UpstreamSet(
    all.map(({ host, alias, repositories = [] }) => {
      const name = segmentOf(host);
      const names = { name, host, alias, visibility: 'public' } as const;
      return { names, policy: { ...POLICY, repositories }, upstream: fake(name) };
    }),
  );
}

function placed(upstreams: UpstreamSet, repository: string): string[] | undefined {
  const place = upstreams.placeOf(parseRepository(repository));
  return place && [place.upstream.name, place.repository, place.remote];
}

test('a repository below a host or its alias is that of the upstream', () => {
  const upstreams = set(
    { host: 'docker.io', alias: 'hub' },
    { host: 'quay.io' },
    { host: 'registry.example:5000', alias: 'own' },
  );
  const cases = [
    ['docker.io/library/nginx', 'docker.io', 'docker.io/library/nginx', 'library/nginx'],
    ['docker.io/nginx', 'docker.io', 'docker.io/library/nginx', 'library/nginx'],
    ['index.docker.io/nginx', 'docker.io', 'docker.io/library/nginx', 'library/nginx'],
    ['hub/nginx', 'docker.io', 'docker.io/library/nginx', 'library/nginx'],
    ['hub/team/app', 'docker.io', 'docker.io/team/app', 'team/app'],
    ['quay.io/app', 'quay.io', 'quay.io/app', 'app'],
    ['own/a/b', 'registry.example.5000', 'registry.example.5000/a/b', 'a/b'],
    ['registry.example.5000/a', 'registry.example.5000', 'registry.example.5000/a', 'a'],
  ];
  for (const [asked = '', ...expected] of cases) {
    assert.deepEqual(placed(upstreams, asked), expected, asked);
  }
  for (const own of ['library/nginx', 'nginx', 'team/app', 'hub', 'docker/io']) {
    assert.equal(placed(upstreams, own), undefined, own);
  }
});

test('a host that is no upstream is unknown, and so is what is not allowed', () => {
  const upstreams = set({ host: 'docker.io', repositories: ['library/*', 'team/**'] });
  assert.ok(placed(upstreams, 'docker.io/nginx'));
  assert.ok(placed(upstreams, 'docker.io/team/a/b'));
  const unknown = [
    ['ghcr.io/team/app', 'docker.io.evil.example/nginx', 'docker.io'],
    ['docker.io/other/app', 'docker.io/library/a/b', 'registry.example.5000/team/a'],
  ].flat();
  for (const name of unknown) {
    assert.throws(() => placed(upstreams, name), { code: 'NAME_UNKNOWN' }, name);
  }
});

test('an upstream is found by what clients call it', () => {
  const upstreams = set({ host: 'docker.io', alias: 'hub' }, { host: '127.0.0.1:5000' });
  const cases = {
    'docker.io': 'docker.io',
    'Registry-1.Docker.IO': 'docker.io',
    hub: 'docker.io',
    '127.0.0.1:5000': '127.0.0.1.5000',
    '127.0.0.1': undefined,
    'quay.io': undefined,
    '': undefined,
  };
  for (const [asked, name] of Object.entries(cases)) assert.equal(upstreams.nameOf(asked), name);
  assert.deepEqual(upstreams.names, ['docker.io', '127.0.0.1.5000']);
});
