import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { TEST_CERTIFICATE } from '../../proto/distribution/test-certificate.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { checkedOptions, HubOptions } from '../options.ts';
import { readUpstreams, type UpstreamSettings } from './settings.ts';

const ACCOUNT = { username: 'ops', password: 'secret' };

function load(upstreams: object[], more: object = {}) {
  const text = JSON.stringify({ upstreams, ...more });
  const config = loadConfig(HubOptions, { text, env: {} });
  checkedOptions(config);
  return config.upstreams;
}

async function settings(upstream: object, env = {}): Promise<UpstreamSettings> {
  const [one] = await readUpstreams(load([upstream]), env);
  assert.ok(one);
  return one;
}

function refused(message: RegExp, upstreams: object[], more: object = {}): void {
  assert.throws(() => load(upstreams, more), { code: 'CONFIG_INVALID', message }, String(message));
}

test('the name of a public registry is all that has to be said', async () => {
  const urls = {
    'docker.io': 'https://registry-1.docker.io',
    'index.docker.io': 'https://registry-1.docker.io',
    'ghcr.io': 'https://ghcr.io',
    'quay.io': 'https://quay.io',
    'registry.k8s.io': 'https://registry.k8s.io',
    'gcr.io': 'https://gcr.io',
    'public.ecr.aws': 'https://public.ecr.aws',
    'registry.example:5000': 'https://registry.example:5000',
  };
  for (const [name, url] of Object.entries(urls)) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal((await settings({ name })).url, url, name);
  }
  const docker = await settings({ name: 'docker.io' });
  assert.deepEqual(docker.tokenHosts, ['auth.docker.io']);
  assert.equal(docker.names.visibility, 'public');
  assert.deepEqual(docker.policy, {
    repositories: [],
    freshness: { kind: 'always' },
    staleMaxAgeMs: 7 * 86_400_000,
    negativeMs: 30_000,
    onDeleted: 'keep',
    provisional: 'readers',
  });
});

test('what is not said follows from what is: who may read, and when', async () => {
  const account = await settings({ name: 'quay.io', credentials: [ACCOUNT] });
  assert.equal(account.names.visibility, 'private');
  const open = { name: 'quay.io', credentials: [ACCOUNT], visibility: 'public' };
  assert.equal((await settings(open)).names.visibility, 'public');
  const plain = { name: 'a.example', url: 'http://a.example', allowPlainHttp: true };
  assert.equal((await settings(plain)).policy.provisional, 'swarm-only');
  const ttl = await settings({ name: 'a.example', freshness: 'ttl', ttl: '2m' });
  assert.deepEqual(ttl.policy.freshness, { kind: 'ttl', ms: 120_000 });
});

test('two upstreams of one name stop the start, and names that mean something else', () => {
  const name = 'a.example';
  refused(/upstreams\[1\]\.name: a\.example/, [{ name }, { name: 'A.example' }]);
  refused(/upstreams\[1\]\.name: b\.example:5000: /, [
    { name: 'b.example.5000' },
    { name: 'b.example:5000' },
  ]);
  refused(/upstreams\[1\]\.name/, [{ name: 'docker.io' }, { name: 'registry-1.docker.io' }]);
  refused(/upstreams\[1\]\.alias: x/, [
    { name, alias: 'x' },
    { name: 'b.example', alias: 'x' },
  ]);
  refused(/upstreams\[0\]\.alias.*dot/, [{ name, alias: 'b.example' }]);
  refused(/upstreams\[0\]\.alias/, [{ name, alias: 'library' }]);
  refused(/upstreams\[0\]\.alias/, [{ name, alias: 'a/b' }]);
  refused(/upstreams\[0\]\.name.*hub\.names/, [{ name }], { hub: { names: [name] } });
  refused(/upstreams\[0\]\.name.*dot/, [{ name: 'registry' }]);
  for (const wrong of ['', 'a b', '[::1]:5000', 'a.example/x', '-a.example', 'a..example']) {
    refused(/upstreams\[0\]\.name/, [{ name: wrong }]);
  }
});

test('an address or a pattern that cannot be meant stops the start, with its place', () => {
  const name = 'a.example';
  for (const url of ['a.example', 'https://a.example/v2', 'https://u:p@a.example', 'ftp://a']) {
    refused(/upstreams\[0\]\.url/, [{ name, url }]);
  }
  refused(/url.*allowPlainHttp/, [{ name, url: 'http://a.example' }]);
  load([{ name, url: 'http://127.0.0.1:5000' }]);
  for (const proxy of ['proxy', 'socks5://proxy:1', 'http://proxy:1/path']) {
    refused(/upstreams\[0\]\.proxy/, [{ name, proxy }]);
  }
  load([{ name, proxy: 'http://u:p@proxy:3128' }]);
  refused(/allowedNetworks\[1\]/, [{ name, allowedNetworks: ['10.0.0.0/8', 'lan'] }]);
  refused(/repositories\[0\]/, [{ name, repositories: ['Team/*'] }]);
  refused(/redirectHosts\[0\]/, [{ name, redirectHosts: ['https://cdn.example'] }]);
});

test('an account has one password, which is shown nowhere', () => {
  const name = 'a.example';
  const both = { ...ACCOUNT, passwordFile: '/password' };
  refused(/credentials\[0\]\.passwordFile(?![^]*secret)/, [{ name, credentials: [both] }]);
  refused(/passwordFile.*required/, [{ name, credentials: [{ username: 'ops' }] }]);
  refused(/credentials\[1\]\.username/, [{ name, credentials: [ACCOUNT, ACCOUNT] }]);
});

test('files are read at the start, and those that cannot be stop it', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-upstreams-'));
  t.after(() => rm(folder, { recursive: true }));
  const passwordFile = path.join(folder, 'password');
  const caFile = path.join(folder, 'ca.pem');
  await writeFile(passwordFile, 'secret\n');
  await writeFile(caFile, TEST_CERTIFICATE);
  const credentials = [{ username: 'ops', passwordFile }];
  const read = await settings({ name: 'a.example', credentials, caFile });
  assert.deepEqual(read.credentials, [ACCOUNT]);
  assert.equal(read.ca, TEST_CERTIFICATE);
  const missing = path.join(folder, 'nothing');
  const wrong = [
    { caFile: missing },
    { caFile: passwordFile },
    { credentials: [{ username: 'ops', passwordFile: missing }] },
  ];
  for (const fields of wrong) {
    const key = 'caFile' in fields ? /upstreams\[0\]\.caFile/ : /credentials\[0\]\.passwordFile/;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(settings({ name: 'a.example', ...fields }), {
      code: 'CONFIG_INVALID',
      message: key,
    });
  }
});

test('proxies are those of the setting, else of the environment', async () => {
  const env = { HTTPS_PROXY: 'http://env:1', NO_PROXY: 'x.example' };
  const rules = [
    [{}, 'http://env:1'],
    [{ proxy: 'http://own:2' }, 'http://own:2'],
    [{ proxy: 'none' }, undefined],
  ] as const;
  for (const [fields, expected] of rules) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { proxies } = await settings({ name: 'a.example', ...fields }, env);
    assert.equal(proxies?.https, expected);
  }
});
