import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostsDirectory, hostsToml } from './containerd-hosts.ts';
import { registriesConf } from './registries-conf.ts';

test('containerd asks the mirror first and falls back to the registry', () => {
  const text = hostsToml({
    mirrorUrl: 'http://127.0.0.1:7410',
    serverUrl: 'https://registry-1.docker.io',
    resolve: true,
  });
  const lines = text.split('\n').map((line) => line.trim());
  const mirror = lines.indexOf('[host."http://127.0.0.1:7410"]');
  assert.equal(lines[1], 'server = "https://registry-1.docker.io"');
  assert.equal(lines[mirror + 1], 'capabilities = ["pull", "resolve"]');
});

test('private registries resolve tags themselves', () => {
  const text = hostsToml({
    mirrorUrl: 'http://[::1]:7410',
    serverUrl: 'https://x',
    resolve: false,
  });
  assert.match(text, /capabilities = \["pull"\]/);
});

test('the folder of a registry follows containerd', () => {
  assert.equal(hostsDirectory('docker.io'), 'docker.io');
  assert.equal(hostsDirectory('hub.example:7400'), 'hub.example_7400_');
  assert.equal(hostsDirectory('[fd00::1]:7400'), '[fd00::1]_7400_');
  assert.equal(hostsDirectory('[fd00::1]'), '[fd00::1]');
});

test('clients without a namespace get a path for upstreams and none for the hub', () => {
  const mirrorAddress = '127.0.0.1:7410';
  const text = registriesConf([
    { registryHost: 'hub.example:7400', mirrorAddress, insecureRegistry: true },
    { registryHost: 'docker.io', mirrorAddress, upstreamPath: 'docker.io' },
  ]);
  assert.match(text, /prefix = "hub\.example:7400"[^[]*insecure = true/);
  assert.match(text, /\[\[registry\.mirror\]\]\nlocation = "127\.0\.0\.1:7410"\n/);
  assert.match(text, /location = "127\.0\.0\.1:7410\/docker\.io"\n/);
});

test('an upstream with a port needs an alias', () => {
  const mirror = {
    registryHost: 'quay.example:5000',
    mirrorAddress: '127.0.0.1:7410',
    upstreamPath: 'quay.example:5000',
  };
  assert.throws(() => registriesConf([mirror]), /alias/);
});
