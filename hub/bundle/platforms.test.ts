import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Descriptor } from '../../proto/oci/manifest.ts';
import { chosenOf, chosenPlatform } from './platforms.ts';

function named(name: string, more: Partial<Descriptor> = {}): Descriptor {
  return { mediaType: 'a/b', digest: digestOf(Buffer.from(name)), size: 1, ...more };
}

function image(text: string): Descriptor {
  return named(text, { platform: chosenPlatform(text) });
}

function about(one: Descriptor): Descriptor {
  const annotations = { 'vnd.docker.reference.digest': one.digest };
  const platform = { os: 'unknown', architecture: 'unknown' };
  return named(`about ${one.digest}`, { annotations, platform });
}

test('the chosen platforms, what is about them, and what is for none are taken', () => {
  const [amd, v6, v7] = ['linux/amd64', 'linux/arm/v6', 'linux/arm/v7'].map(image);
  assert.ok(amd && v6 && v7);
  const plain = named('for none');
  const all = [amd, v6, v7, about(amd), about(v7), plain];
  const chosen = (...texts: string[]) => chosenOf(all, texts.map(chosenPlatform));
  assert.deepEqual(chosen(), all);
  assert.deepEqual(chosen('linux/amd64'), [amd, about(amd), plain]);
  assert.deepEqual(chosen('linux/arm'), [v6, v7, about(v7), plain]);
  assert.deepEqual(chosen('linux/arm/v6'), [v6, plain]);
  assert.deepEqual(chosen('windows/amd64'), [plain]);
});

test('what is no platform is told', () => {
  assert.throws(() => chosenPlatform('linux'), { code: 'IMAGE_INVALID' });
});
