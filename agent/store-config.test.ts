import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../proto/oci/digest.ts';
import { loadConfig } from '../proto/ops/config.ts';
import { AgentOptions } from './options.ts';
import { namespaceRules } from './registries.ts';
import { pinRules } from './store-config.ts';

const HUB = { url: 'https://hub.example:7400', names: ['images.example'] };
const UPSTREAMS = [{ name: 'docker.io', url: 'https://mirror.example', alias: 'dockerhub' }];

function rulesOf(store: object): ReturnType<typeof pinRules> {
  const text = JSON.stringify({ hub: HUB, upstreams: UPSTREAMS, store });
  const config = loadConfig(AgentOptions, { text, env: {} });
  return pinRules(config, namespaceRules(config, { names: () => [], upstreams: () => [] }));
}

test('pinned names are read as an image name is', () => {
  const digest = digestOf(Buffer.from('a'));
  const pinned = ['team/app', 'images.example/team/web', 'docker.io/nginx', 'dockerhub/org/x'];
  const rules = rulesOf({ pinned: [...pinned, digest] });
  assert.deepEqual([...rules.digests], [digest]);
  assert.deepEqual(
    [...rules.places],
    ['hub/team/app', 'hub/team/web', 'docker.io/library/nginx', 'docker.io/org/x'],
  );
});

test('names of no known registry and marks the wrong way round stop the start', () => {
  assert.throws(() => rulesOf({ pinned: ['quay.io/a/b'] }), /store\.pinned\[0\].*no registry/);
  assert.throws(() => rulesOf({ pinned: ['Team/App'] }), /store\.pinned\[0\]/);
  assert.throws(() => rulesOf({ highWater: 0.5, lowWater: 0.6 }), /store\.lowWater/);
});
