import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ContentHasher } from '../../../proto/chunks/content-hasher.ts';
import { LEAF_BYTES } from '../../../proto/chunks/layout.ts';
import { HASH_BYTES } from '../../../proto/chunks/merkle.ts';
import { verifyBatch, type ProvisionalBatch } from '../../../proto/chunks/provisional.ts';
import { digestOf } from '../../../proto/oci/digest.ts';
import { parseRepository } from '../../../proto/oci/name.ts';
import { MetricsRegistry } from '../../../proto/ops/metrics.ts';
import { KeyRing } from '../../../proto/trust/key-ring.ts';
import { TrustStore } from '../../../proto/trust/trust-store.ts';
import { PROVISIONAL_GATHER_MS } from './constants.ts';
import { FakeIngest, FakeIngests } from './fake-ingest.ts';
import { createProvisionalMetrics } from './metrics.ts';
import { Provisional, type ProvisionalOptions } from './provisional.ts';

const REPOSITORY = parseRepository('docker.io/library/app');
const BYTES = randomBytes(6 * LEAF_BYTES + 5);
const DIGEST = digestOf(BYTES);
const hasher = new ContentHasher();
hasher.update(BYTES);
const LEAVES = hasher.finish().leaves;

function room(options: ProvisionalOptions = {}) {
  const ring = KeyRing.create(0);
  const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
  trust.load(ring.bundle());
  const ingests = new FakeIngests();
  const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  const signingKey = () => ring.signingKey('statement');
  const told = { ingests, signingKey, metrics: createProvisionalMetrics(metrics) };
  const provisional = new Provisional(options, told);
  const ask = async (
    from?: number,
    o: { signal?: AbortSignal } = {},
  ): Promise<ProvisionalBatch | undefined> => {
    const bytes = await provisional.batch(REPOSITORY, DIGEST, from, o);
    return bytes && verifyBatch(bytes, trust);
  };
  const start = (ingest = new FakeIngest(DIGEST, BYTES)): FakeIngest => {
    ingests.put(REPOSITORY, ingest);
    return ingest;
  };
  return { ingests, provisional, ask, start };
}

test('of a blob that is not being fetched nothing is told', async () => {
  const { provisional, ask, start } = room();
  assert.equal(await ask(), undefined);
  assert.equal(provisional.coming(REPOSITORY, DIGEST), undefined);
  start();
  const other = parseRepository('docker.io/library/other');
  assert.equal(await provisional.batch(other, DIGEST, undefined, {}), undefined);
  assert.equal(await provisional.open(other, DIGEST, {}), undefined);
  assert.equal(provisional.coming('no repository at all', DIGEST), undefined);
});

test('the first question is answered at once, also before the first leaf', async () => {
  const { provisional, ask, start } = room();
  start();
  const batch = await ask();
  assert.equal(batch?.state, 'running');
  assert.equal(batch.size, BYTES.length);
  assert.equal(batch.digest, DIGEST);
  assert.equal(batch.leaves.length, 0);
  assert.equal(provisional.coming(REPOSITORY, DIGEST)?.size, BYTES.length);
});

test('a question for a leaf is answered when it is there; all make the blob', async () => {
  const { ask, start } = room();
  const ingest = start();
  const asked = ask(0);
  ingest.receive(2 * LEAF_BYTES + 1);
  const first = await asked;
  assert.equal(first?.first, 0);
  const next = ask(2);
  ingest.receive(BYTES.length);
  const second = await next;
  assert.ok(second && second.session.equals(first.session));
  assert.deepEqual(Buffer.concat([first.leaves, second.leaves]), LEAVES);
});

test('who asked for leaves hears how it ended, and who asks later too', async () => {
  for (const [outcome, state] of [
    ['stored', 'stored'],
    ['wrong', 'revoked'],
  ] as const) {
    const { ingests, ask, start } = room();
    const ingest = start();
    ingest.receive(BYTES.length);
    const running = await ask();
    const asked = ask(7);
    ingest.end(outcome);
    ingests.remove(REPOSITORY, DIGEST);
    const batch = await asked;
    assert.equal(batch?.state, state);
    assert.deepEqual(batch.session, running?.session);
    assert.equal((await ask(7))?.state, state);
    assert.equal(batch.leaves.length, 0);
  }
});

test('a failed ingest says nothing of the bytes, a new one is another session', async () => {
  const { ingests, ask, start } = room();
  const ingest = start();
  const first = await ask();
  const asked = ask(0);
  ingest.end('failed');
  assert.equal(await asked, undefined);
  ingests.remove(REPOSITORY, DIGEST);
  assert.equal(await ask(), undefined);
  start();
  const second = await ask();
  assert.ok(first && second && !second.session.equals(first.session));
});

test('a question that waits is over after its time, or when the asker has left', async () => {
  const { provisional, ask, start } = room({ waitMs: 10 });
  start();
  const batch = await ask(0);
  assert.equal(batch?.state, 'running');
  assert.equal(batch.leaves.length, 0);
  const patient = room();
  patient.start();
  const gone = new AbortController();
  const asked = patient.ask(0, { signal: gone.signal });
  assert.equal(patient.provisional.waiters, 1);
  gone.abort(new Error('gone'));
  await assert.rejects(asked, /gone/);
  assert.equal(patient.provisional.waiters, 0);
  assert.equal(provisional.waiters, 0);
});

test('the first leaf is told at once, and the next ones together', async (t) => {
  const { ask, start } = room({ waitMs: 10_000 });
  const ingest = start();
  // No timer ends by itself.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const asked = ask(0);
  ingest.receive(LEAF_BYTES);
  assert.equal((await asked)?.leaves.length, HASH_BYTES);
  const next = ask(1);
  for (let leaf = 0; leaf < 3; leaf += 1) ingest.receive(LEAF_BYTES);
  await setImmediate();
  t.mock.timers.tick(PROVISIONAL_GATHER_MS);
  assert.equal((await next)?.leaves.length, 3 * HASH_BYTES);
});

test('so many may wait, and more are told to come back', async () => {
  const { ask, start } = room({ waitersMax: 2 });
  const ingest = start();
  const waiting = [ask(0), ask(0)];
  await assert.rejects(ask(0), { code: 'UNAVAILABLE' });
  assert.equal((await ask())?.state, 'running', 'who does not wait is answered');
  ingest.receive(LEAF_BYTES);
  const [one, two] = await Promise.all(waiting);
  assert.deepEqual(one, two);
});

test('the batch says who may have the bytes', async () => {
  const { ask, start } = room();
  start(new FakeIngest(DIGEST, BYTES, { provisional: 'swarm-only' }));
  assert.equal((await ask())?.release, 'swarm-only');
});

test('a blob without chunks is never provisional', async () => {
  const { ask, start } = room();
  start(new FakeIngest(DIGEST, BYTES.subarray(0, 4 * LEAF_BYTES)));
  assert.equal(await ask(), undefined);
});

test('when nothing can be begun, nothing is told', async () => {
  const { ingests, ask } = room({ waitMs: 10 });
  Object.assign(ingests, { start: () => Promise.reject(new Error('upstream away')) });
  assert.equal(await ask(), undefined);
  Object.assign(ingests, { start: () => new Promise(() => {}) });
  assert.equal(await ask(), undefined);
});

test('a question for leaves begins to fetch a blob of an upstream', async () => {
  const { ingests, ask, start } = room();
  const started: string[] = [];
  const begin = async (repository: string): Promise<void> => {
    started.push(repository);
    start();
  };
  Object.assign(ingests, { start: begin });
  assert.equal((await ask())?.state, 'running');
  assert.equal((await ask())?.state, 'running');
  assert.deepEqual(started, [REPOSITORY]);
});
