// A hub that is killed in the middle of a large replication goes on where it was.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PUSH_CHUNK_BYTES } from '../../hub/replication/constants.ts';
import { TestHub } from '../registry/test-hub.ts';
import { missingDockerRegistry, startDockerRegistry } from '../rig/docker-registry.ts';
import { interruptedPull, interruptedPush } from './restart-trial.ts';

const skip = missingDockerRegistry();

test('a pull goes on by Range, and asks for nothing it has', { skip }, async (t) => {
  await interruptedPull(t, startDockerRegistry);
});

test('a push goes on where the registry says it stands', async (t) => {
  const { offset } = await interruptedPush(t, () => TestHub.start());
  assert.ok(offset >= 3 * PUSH_CHUNK_BYTES, `went on at ${offset}`);
});

test('a registry that forgets what was cut gets that blob anew', { skip }, async (t) => {
  await interruptedPush(t, startDockerRegistry);
});
