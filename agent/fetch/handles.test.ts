import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { StoreError } from '../store/errors.ts';
import { Cursor } from './cursors.ts';
import { bufferHandle, supplyHandle } from './handles.ts';
import { createFetchMetrics } from './metrics.ts';
import type { FileSink } from './ports.ts';
import { ReadBuffers } from './read-buffers.ts';
import type { Supply } from './supply.ts';

const SIZE = 100_000;
const BYTES = Buffer.from(Array.from({ length: SIZE }, (_, index) => index % 251));
const READING = {
  buffers: new ReadBuffers(),
  metrics: createFetchMetrics(new MetricsRegistry({ prefix: 'flotilla_agent_' })),
  logger: createLogger({ level: 'silent', name: 'test' }),
};

/** A supply that is all there, in a file, until it fails at a call. */
function failingSupply(callsMax: number): Supply {
  let calls = 0;
  const called = (): void => {
    calls += 1;
    if (calls <= callsMax) return;
    throw new StoreError('the disk is broken', { code: 'IO', path: '/there' });
  };
  return {
    digest: 'sha256:test',
    size: SIZE,
    available: (position) => SIZE - position,
    changed: () => Promise.reject(new Error('never')),
    read: async (into, position) => {
      called();
      BYTES.copy(into, 0, position);
    },
    pass: async (position, length, sink) => {
      called();
      return sink.take(7, position, length);
    },
    enter: (position, nowMs) => new Cursor(position, nowMs, () => {}),
    hold: () => ({ [Symbol.dispose]: () => {} }),
  };
}

/** A client that takes what `takes` says, one after the other, and then nothing more. */
function clientOf(takes: readonly (number | undefined)[]) {
  const got: Buffer[] = [];
  const left = [...takes];
  const sink: FileSink = {
    take: async (file, position, length) => {
      assert.equal(file, 7);
      const may = left.shift() ?? 0;
      const taken = left.length === 0 ? undefined : Math.min(may, length);
      got.push(BYTES.subarray(position, position + (taken ?? 0)));
      return taken;
    },
  };
  return { got, sink };
}

describe('a blob for a connection out of a store', () => {
  it('is given whole and in order, whatever they do', async () => {
    const takes = fc.array(fc.option(fc.integer({ min: 0, max: 40_000 }), { nil: undefined }));
    const range = fc
      .tuple(fc.nat(SIZE), fc.nat(SIZE))
      .map((ends) => ends.toSorted((a, b) => a - b));
    const given = fc.asyncProperty(takes, range, fc.nat(12), async (taken, [from, to], calls) => {
      const [start = 0, end = 0] = [from, to];
      const { got, sink } = clientOf(taken);
      using handle = supplyHandle(failingSupply(calls), READING, bufferHandle(BYTES));
      for await (const bytes of handle.read({ start, end }, { sink })) got.push(Buffer.from(bytes));
      assert.ok(Buffer.concat(got).equals(BYTES.subarray(start, end)));
    });
    await fc.assert(given, { numRuns: 300 });
  });
});
