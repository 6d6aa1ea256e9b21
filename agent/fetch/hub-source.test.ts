import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { RegistrySource } from './hub-source.ts';
import { createFetchMetrics } from './metrics.ts';

const BLOB = digestOf(Buffer.from('a blob'));
const REPOSITORY = parseRepository('team/app');

/** A source whose registry answers every read with these pieces. */
function sourceOf(pieces: readonly Buffer[], kind: 'hub' | 'upstream' = 'hub') {
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
  return { registry, asked, source: new RegistrySource({ kind }, { client, metrics }) };
}

describe('a registry as a source', () => {
  it('puts a range together and counts what it received', async () => {
    const { source, registry } = sourceOf([Buffer.from('abc'), Buffer.from('de')]);
    const bytes = await source.chunk(REPOSITORY, BLOB, { start: 2, end: 7 }, {});
    assert.equal(bytes.toString(), 'abcde');
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
