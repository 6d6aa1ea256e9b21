import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { ADMIN, TestHub } from '../registry/test-hub.ts';
import { missingDockerRegistry, startDockerRegistry } from '../rig/docker-registry.ts';
import { resultLine } from './report.ts';
import { checksFor, runSuite, type Result, type SuiteOptions } from './suite.ts';

/** The hub warns of nothing. */
const LEFT_OUT = [/^warnings\//];

function lines(results: readonly Result[], outcome: Result['outcome']): string[] {
  return results.filter((result) => result.outcome === outcome).map(resultLine);
}

async function runOnHub(
  changes: Record<string, object>,
  options: Omit<SuiteOptions, 'url'>,
): Promise<Result[]> {
  await using hub = await TestHub.start(changes);
  return await runSuite({ ...options, url: new URL(hub.url), credentials: ADMIN });
}

function assertConforms(results: readonly Result[], leftOut: readonly RegExp[]): void {
  assert.deepEqual(lines(results, 'failed'), []);
  const skipped = results.filter(({ outcome }) => outcome === 'skipped');
  const unexpected = skipped.filter(({ id }) => !leftOut.some((known) => known.test(id)));
  assert.deepEqual(unexpected.map(resultLine), []);
}

test('the hub keeps every rule of version 1.1', async () => {
  const results = await runOnHub({}, { spec: '1.1' });
  assertConforms(results, [...LEFT_OUT, /^data\/sparse /]);
});

test('the hub keeps every rule of the next version, sparse content allowed', async () => {
  const registry = { sparseIndexes: true, sparseImages: true };
  const results = await runOnHub({ registry }, { spec: 'dev' });
  assertConforms(results, [...LEFT_OUT, /^manifests\/refused: a layer that is not here$/]);
  assert.deepEqual(
    results.map(({ id }) => id),
    checksFor('dev').map(({ id }) => id),
  );
});

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-conformance-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test(
  'the suite tells what another registry breaks, and what it keeps',
  { skip: missingDockerRegistry() },
  async (t) => {
    await using other = await startDockerRegistry(await folderOf(t));
    const results = await runSuite({ url: new URL(other.url), spec: '1.1' });
    const outcomes = new Map(results.map(({ id, outcome }) => [id, outcome]));
    const broken = [
      'referrers/of an empty repository',
      'blobs/sha256/push in chunks out of order',
      'blobs/sha256/pull bytes=5000-10000',
      'manifests/push to a digest that is none',
      'data/subject/sha256/push',
      'data/image/sha512/push',
    ];
    const kept = [
      'base/get',
      'blobs/sha256/push by POST and PUT',
      'blobs/sha256/push in three chunks',
      'blobs/sha256/mount from another repository',
      'blobs/sha256/pull bytes=500-1499',
      'data/image/sha256/pull',
      'data/index/sha256/pull',
    ];
    assert.deepEqual(
      broken.filter((id) => outcomes.get(id) !== 'failed'),
      [],
    );
    assert.deepEqual(
      kept.filter((id) => outcomes.get(id) !== 'passed'),
      [],
    );
  },
);
