import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitsPlatforms, parsePlatform, platformText } from './platform.ts';

const ARM = { os: 'linux', architecture: 'arm' };

test('a platform is read as it is written', () => {
  for (const text of ['linux/amd64', 'linux/arm/v7', 'wasip1/wasm']) {
    const platform = parsePlatform(text);
    assert.equal(platform && platformText(platform), text);
  }
  assert.deepEqual(parsePlatform('linux/arm/v7'), { ...ARM, variant: 'v7' });
  for (const text of [
    '',
    'all',
    'linux',
    'linux/',
    '/amd64',
    'linux/amd64/',
    'linux/a/b/c',
    'L/x',
  ]) {
    assert.equal(parsePlatform(text), undefined, text);
  }
});

test('a platform without variant is any of that architecture', () => {
  const any = [ARM, { os: 'windows', architecture: 'amd64' }];
  assert.ok(fitsPlatforms({ ...ARM, variant: 'v7' }, any));
  assert.ok(!fitsPlatforms({ os: 'linux', architecture: 'amd64' }, any));
  assert.ok(!fitsPlatforms({ ...ARM, variant: 'v6' }, [{ ...ARM, variant: 'v7' }]));
  assert.ok(!fitsPlatforms(ARM, [{ ...ARM, variant: 'v7' }]));
  assert.ok(!fitsPlatforms(undefined, any));
});
