import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { resolveNamespace } from './namespace.ts';
import { TEST_RULES } from './fixture.ts';

const TAIL = 'library/nginx/manifests/latest';

function resolve(url: string): string {
  const found = resolveNamespace(url, TEST_RULES);
  return found.kind === 'found' ? `${found.target.namespace} ${found.path}` : found.kind;
}

test('ns names the registry, in any of its spellings', () => {
  for (const ns of ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'Docker.IO']) {
    assert.equal(resolve(`/v2/${TAIL}?ns=${ns}`), `docker.io /v2/${TAIL}`, ns);
  }
  assert.equal(resolve(`/v2/${TAIL}?ns=quay.example%3A5000`), `quay.example:5000 /v2/${TAIL}`);
});

test('the hub is known by its names with and without its ports', () => {
  for (const ns of ['hub.example', 'hub.example:7400', 'hub.example:443', 'HUB.example']) {
    assert.equal(resolve(`/v2/${TAIL}?ns=${ns}`), `hub /v2/${TAIL}`, ns);
  }
  assert.equal(resolve(`/v2/${TAIL}?ns=hub.example:5000`), 'unknown', 'another registry there');
});

test('any other registry is not here, whatever its address', () => {
  for (const ns of [
    'ghcr.io',
    '169.254.169.254',
    '[::1]:22',
    'localhost:5000',
    'hub',
    '10.0.0.1',
  ]) {
    assert.equal(resolve(`/v2/${TAIL}?ns=${encodeURIComponent(ns)}`), 'unknown', ns);
  }
});

test('a malformed or repeated ns is refused', () => {
  const bad = ['', 'a/b', 'user@host', 'http://x', 'a b', 'x?', '-', 'a..', 'a'.repeat(300)];
  for (const ns of [...bad, '\u0000', 'hub.example#', '[::1', ':80']) {
    assert.equal(resolve(`/v2/${TAIL}?ns=${encodeURIComponent(ns)}`), 'invalid', ns);
  }
  assert.equal(resolve(`/v2/${TAIL}?ns=docker.io&ns=docker.io`), 'invalid');
  assert.equal(resolve(`http://docker.io/v2/${TAIL}`), 'invalid');
});

test('without ns a host or alias in the path names the upstream', () => {
  assert.equal(resolve(`/v2/docker.io/${TAIL}`), `docker.io /v2/${TAIL}`);
  assert.equal(
    resolve('/v2/docker.io/nginx/manifests/1'),
    'docker.io /v2/library/nginx/manifests/1',
  );
  assert.equal(resolve('/v2/docker.io/a/b/blobs/x'), 'docker.io /v2/a/b/blobs/x');
  assert.equal(resolve(`/v2/quay/${TAIL}`), `quay.example:5000 /v2/${TAIL}`);
  assert.equal(resolve(`/v2/hub.example:7400/${TAIL}`), `hub /v2/${TAIL}`);
  assert.equal(resolve(`/v2/ghcr.io/${TAIL}`), 'unknown');
  assert.equal(resolve(`/v2/10.0.0.1:80/${TAIL}`), 'unknown');
});

test('without ns everything else is the hub', () => {
  assert.equal(resolve(`/v2/${TAIL}`), `hub /v2/${TAIL}`);
  assert.equal(resolve('/v2/'), 'hub /v2/');
  assert.equal(resolve('/v2/models/blobs/x?other=1'), 'hub /v2/models/blobs/x');
});

test('with ns the path is not read as a host', () => {
  assert.equal(resolve(`/v2/docker.io/${TAIL}?ns=hub.example`), `hub /v2/docker.io/${TAIL}`);
});

test('nothing a client writes reaches a registry that is not listed', () => {
  const allowed = new Set(['hub', 'docker.io', 'quay.example:5000']);
  fc.assert(
    fc.property(fc.webPath(), fc.webQueryParameters(), fc.string(), (path, query, ns) => {
      for (const url of [`/v2${path}?${query}`, `/v2${path}?ns=${encodeURIComponent(ns)}`, ns]) {
        const found = resolveNamespace(url, TEST_RULES);
        if (found.kind === 'found') assert.ok(allowed.has(found.target.namespace), url);
      }
    }),
  );
});

test('what the hub has of other registries is a repository of the hub', () => {
  const ported = { namespace: 'registry.example:5000' };
  const upstreams = [{ namespace: 'ghcr.io', alias: 'gh' }, { namespace: 'docker.io' }, ported];
  const rules = { ...TEST_RULES, upstreams: [], hubUpstreams: () => upstreams };
  const at = (url: string): string => {
    const found = resolveNamespace(url, rules);
    return found.kind === 'found' ? `${found.target.namespace} ${found.path}` : found.kind;
  };
  const tail = 'org/app/manifests/v1';
  const there = `hub /v2/ghcr.io/${tail}`;
  assert.equal(at(`/v2/${tail}?ns=ghcr.io`), there);
  assert.equal(at(`/v2/ghcr.io/${tail}`), there);
  assert.equal(at(`/v2/gh/${tail}`), there);
  for (const own of ['hub.example', 'hub.example:7400']) {
    assert.equal(at(`/v2/gh/${tail}?ns=${own}`), there, 'it has one name for all that it gives');
    assert.equal(at(`/v2/${own}/gh/${tail}`), there);
  }
  assert.equal(at('/v2/?ns=ghcr.io'), 'hub /v2/');
  const five = `hub /v2/registry.example.5000/${tail}`;
  assert.equal(at(`/v2/${tail}?ns=registry.example:5000`), five);
  assert.equal(at(`/v2/registry.example.5000/${tail}`), five);
  assert.equal(at(`/v2/registry.example:5000/${tail}`), five);
  const nginx = `hub /v2/docker.io/${TAIL}`;
  assert.equal(at(`/v2/${TAIL}?ns=index.docker.io`), nginx);
  assert.equal(at('/v2/docker.io/nginx/manifests/latest'), nginx);
  assert.equal(at(`/v2/${tail}?ns=quay.io`), 'unknown');
});

test('an upstream of this node itself is asked by the node, whatever the hub has', () => {
  const rules = { ...TEST_RULES, hubUpstreams: () => [{ namespace: 'docker.io' }] };
  const found = resolveNamespace(`/v2/${TAIL}?ns=docker.io`, rules);
  assert.equal(found.kind === 'found' && found.target.namespace, 'docker.io');
});
