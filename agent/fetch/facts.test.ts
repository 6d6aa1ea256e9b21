import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { factsFromSource } from './facts.ts';
import { loneSwarm } from './lone.ts';
import { createFetchMetrics } from './metrics.ts';
import { failure, TestHub } from './test-hub.ts';

const UPSTREAM = parseRepository('docker.io/library/app');
const OWN = parseRepository('team/app');
const BYTES = randomBytes(6 * LEAF_BYTES);

function room() {
  const hub = new TestHub();
  const metrics = createFetchMetrics(new MetricsRegistry({ prefix: 'flotilla_agent_' }));
  const modules = { swarm: loneSwarm(), trust: hub.trust(), metrics };
  const ask = (digest = hub.store(BYTES).digest, repository = UPSTREAM, signal?: AbortSignal) => {
    const request = { namespace: 'hub', repository, digest, grant: undefined };
    return factsFromSource(request, hub, modules, { signal });
  };
  return { hub, ask };
}

/** Resolves when both were asked, and neither was answered before. */
function both(hub: TestHub): Promise<void> {
  const asked = { statement: Promise.withResolvers<void>(), leaves: Promise.withResolvers<void>() };
  const all = Promise.all([asked.statement.promise, asked.leaves.promise]);
  const [statement, provisional] = [hub.statement.bind(hub), hub.provisional.bind(hub)];
  hub.statement = async (...args) => {
    asked.statement.resolve();
    await all;
    return statement(...args);
  };
  hub.provisional = async (...args) => {
    asked.leaves.resolve();
    await all;
    return provisional(...args);
  };
  return all.then(() => undefined);
}

test('a blob of an upstream is asked for as a whole and as one on its way at once', async () => {
  const { hub, ask } = room();
  const asked = both(hub);
  const { digest } = hub.fetch(BYTES);
  const facts = await ask(digest);
  await asked;
  assert.ok(facts !== 'absent' && facts.kind === 'provisional');
  assert.equal(hub.heads, 0);
});

test('a statement that there is needs no answer to the other question', async () => {
  for (const answer of [
    () => new Promise<never>(() => {}),
    () => Promise.reject(failure('HTTP_STATUS')),
    () => Promise.resolve(Buffer.from('nothing that a hub has signed')),
  ]) {
    const { hub, ask } = room();
    hub.provisional = answer;
    const facts = await ask();
    assert.ok(facts !== 'absent' && facts.kind === 'chunked');
  }
});

test('the question for a blob on its way is not broken off by a statement', async () => {
  const { hub, ask } = room();
  let signal: AbortSignal | undefined;
  const answer = Promise.withResolvers<undefined>();
  hub.provisional = (_repository, _digest, _from, o) => {
    ({ signal } = o);
    return answer.promise;
  };
  const reader = new AbortController();
  const facts = await ask(undefined, UPSTREAM, reader.signal);
  assert.ok(facts !== 'absent' && facts.kind === 'chunked');
  reader.abort();
  assert.equal(signal?.aborted, false);
  answer.resolve(undefined);
});

test('a hub that tells of nothing on its way is asked for the size', async () => {
  const { hub, ask } = room();
  const { digest } = hub.addBlob(1_000);
  assert.deepEqual(await ask(digest), { kind: 'small', size: 1_000 });
  hub.states = false;
  assert.deepEqual(await ask(), { kind: 'unstated', size: BYTES.length });
  assert.equal(hub.heads, 2);
});

test('who gives up does not wait for a hub that fetches nothing', async () => {
  const { hub, ask } = room();
  hub.states = false;
  hub.provisional = () => new Promise<never>(() => {});
  const reader = new AbortController();
  const asked = ask(undefined, UPSTREAM, reader.signal);
  reader.abort(new Error('gone'));
  await assert.rejects(asked, /gone/);
});

test('of a blob of the hub itself nothing is set on its way beside a statement', async () => {
  const { hub, ask } = room();
  let asked = 0;
  hub.provisional = async () => {
    asked += 1;
    return undefined;
  };
  const facts = await ask(undefined, OWN);
  assert.ok(facts !== 'absent' && facts.kind === 'chunked');
  assert.equal(asked, 0);
});
