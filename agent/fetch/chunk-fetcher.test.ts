import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { RateBudget } from '../../proto/std/rate-budget.ts';
import { ChunkFetcher } from './chunk-fetcher.ts';
import { ChunkMemory } from './chunk-memory.ts';
import { createFetchMetrics } from './metrics.ts';
import type { ChunkBytes } from './ports.ts';
import { REPOSITORY, TestHub } from './test-hub.ts';

const SIZE = 6 * 1024 * 1024;

test('a transport that never ends gives the memory of its chunk back', async () => {
  const { digest, hashes } = new TestHub().addBlob(SIZE);
  const memory = new ChunkMemory();
  const metrics = createFetchMetrics(new MetricsRegistry({ prefix: 'flotilla_agent_' }));
  const transport = { name: 'deaf', fetchChunk: () => new Promise<ChunkBytes>(() => {}) };
  const modules = { transport, source: undefined, memory, metrics };
  const fetcher = new ChunkFetcher({ digest, hashes, layout: layoutOf(SIZE) }, REPOSITORY, modules);
  const stop = new AbortController();
  const started = Promise.withResolvers<void>();
  const calls = { started: () => started.resolve(), keep: () => Promise.resolve() };
  const fetched = fetcher.fetch({ kind: 'peer', peerId: 'p' }, 0, calls, stop.signal);
  await started.promise;
  assert.notEqual(memory.bytesInUse, 0);
  stop.abort(new Error('no longer needed'));
  await assert.rejects(fetched, /no longer needed/);
  assert.equal(memory.bytesInUse, 0);
});

test('a chunk takes its part of the link that is meant for its kind of source', async () => {
  const hub = new TestHub();
  const { digest, hashes, bytes } = hub.addBlob(SIZE);
  const leaf = 1024 ** 2;
  const budget = (): RateBudget => new RateBudget({ bytesPerSecond: 1000 * leaf, now: () => 0 });
  const budgets = { peersDown: budget(), source: budget() };
  const first = Buffer.from(bytes.subarray(0, leaf));
  const transport = {
    name: 'test',
    fetchChunk: () => Promise.resolve({ bytes: first, [Symbol.dispose]: () => {} }),
  };
  const metrics = createFetchMetrics(new MetricsRegistry({ prefix: 'flotilla_agent_' }));
  const modules = { transport, source: undefined, memory: new ChunkMemory(), budgets, metrics };
  const fetcher = new ChunkFetcher({ digest, hashes, layout: layoutOf(SIZE) }, REPOSITORY, modules);
  const calls = { started: () => {}, keep: () => Promise.resolve() };
  await fetcher.fetch({ kind: 'peer', peerId: 'p' }, 0, calls, new AbortController().signal);
  // Of a burst of 250 chunks one is gone, so that 250 more are there one chunk's time later.
  assert.equal(budgets.peersDown.take(250 * leaf), 1);
  assert.equal(budgets.source.take(250 * leaf), 0);
});
