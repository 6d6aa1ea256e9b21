import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wellKnownHosts } from './well-known.ts';

test('a well-known registry brings its hosts, others and plain http bring none', () => {
  assert.deepEqual(wellKnownHosts('https://registry-1.docker.io/').tokenHosts, ['auth.docker.io']);
  assert.deepEqual(wellKnownHosts('https://quay.io').redirectHosts, ['*.quay.io']);
  const none = { tokenHosts: [], redirectHosts: [] };
  for (const url of [
    'http://quay.io',
    'https://quay.io:8443',
    'https://quay.io.evil.example',
    '',
  ]) {
    assert.deepEqual(wellKnownHosts(url), none, url);
  }
});
