import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { RateBudget } from '../../proto/std/rate-budget.ts';
import { RegistrySource } from './hub-source.ts';
import { createFetchMetrics } from './metrics.ts';

const BLOB = digestOf(Buffer.from('a blob'));
const REPOSITORY = parseRepository('team/app');

/** A source whose registry answers every read with these pieces. */
function sourceOf(
  pieces: readonly Buffer[],
  kind: 'hub' | 'upstream' = 'hub',
  budget?: RateBudget,
) {
  const registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const asked: string[] = [];
  async function* body(): AsyncGenerator<Buffer> {
    yield* pieces;
  }
  const client = {
    headBlob: async () => ({ size: 10 }),
    openBlob: async (
      _repository: string,
      _digest: string,
      o: { start?: number; end?: number },
    ) => ({
      size: 10,
      start: o.start ?? 0,
      end: o.end ?? 10,
      body: body(),
    }),
    readBlob: async () => pieces[0],
    getManifest: async () => undefined,
    getBytes: async (path: string) => {
      asked.push(path);
      return pieces[0];
    },
  };
  const metrics = createFetchMetrics(registry);
  return { registry, asked, source: new RegistrySource({ kind }, { client, metrics, budget }) };
}

describe('a registry as a source', () => {
  it('streams within the budget of sources, and a small blob does not wait for it', async () => {
    const budget = new RateBudget({ bytesPerSecond: 8, now: () => 0 });
    const { source } = sourceOf([Buffer.from('abc'), Buffer.from('de')], 'hub', budget);
    await source.small(REPOSITORY, BLOB, 'blob', {});
    assert.equal(budget.taken, 3);
    const gone = new AbortController();
    const stream = await source.stream(REPOSITORY, BLOB, 0, { signal: gone.signal });
    const read = stream?.body[Symbol.asyncIterator]();
    const first = read?.next();
    gone.abort(new Error('the budget is used up'));
    await assert.rejects(async () => first, /used up/);
    assert.equal(budget.taken, 6);
  });

  it('puts a range together and counts what it received', async () => {
    const { source, registry } = sourceOf([Buffer.from('abc'), Buffer.from('de')]);
    const chunk = await source.chunk(REPOSITORY, BLOB, { start: 2, end: 7 }, {});
    const { bytes } = chunk;
    assert.equal(bytes.toString(), 'abcde');
    chunk[Symbol.dispose]();
    assert.equal(bytes.length, 0, 'its memory is given back at once');
    const text = await registry.text();
    assert.match(text, /flotilla_agent_fetched_bytes_total\{source="hub"\} 5/);
  });

  for (const [what, pieces] of [
    ['short', [Buffer.from('ab')]],
    ['long', [Buffer.from('abc'), Buffer.from('defgh')]],
  ] as const) {
    it(`refuses a ${what} answer to a range`, async () => {
      const { source } = sourceOf(pieces);
      await assert.rejects(source.chunk(REPOSITORY, BLOB, { start: 0, end: 5 }, {}), (err) =>
        hasCode(err, 'BROKEN'),
      );
    });
  }

  it('asks the hub for statements, an upstream never', async () => {
    const hub = sourceOf([Buffer.from('statement')]);
    assert.ok(await hub.source.statement(REPOSITORY, BLOB, {}));
    assert.deepEqual(hub.asked, [`/v2/team/app/_flotilla/chunks/statement/${BLOB}`]);
    const upstream = sourceOf([Buffer.from('x')], 'upstream');
    assert.equal(await upstream.source.statement(REPOSITORY, BLOB, {}), undefined);
    assert.equal(await upstream.source.hashes(REPOSITORY, BLOB, 64, {}), undefined);
    assert.deepEqual(upstream.asked, []);
  });
});
