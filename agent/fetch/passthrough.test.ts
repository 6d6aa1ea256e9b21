import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { createFetchMetrics } from './metrics.ts';
import { Passthrough } from './passthrough.ts';
import type { HubSource } from './ports.ts';

const digest = digestOf(Buffer.from('blob'));
const request = {
  namespace: 'quay.example',
  repository: parseRepository('app'),
  digest,
  grant: undefined,
};

function unused(): never {
  throw new Error('nothing may be kept');
}

test('a source whose blob has another size is let go of, its body unread', async () => {
  const signals: (AbortSignal | undefined)[] = [];
  const stream: HubSource['stream'] = (_repository, _digest, _start, { signal }) => {
    signals.push(signal);
    return Promise.resolve({ size: 11, body: (async function* () {})() });
  };
  const source = { kind: 'upstream' as const, stream };
  const spool = {
    written: 0,
    append: unused,
    read: unused,
    commit: unused,
    discard: async () => {},
  };
  const metrics = createFetchMetrics(new MetricsRegistry({ prefix: 'flotilla_agent_' }));
  const logger = createLogger({ level: 'silent', name: 'test' });
  const supply = new Passthrough(request, 10, { source, spool, metrics, logger });
  supply.start();
  await supply.ended;
  assert.match(supply.failure?.message ?? '', /gone or changed its size/);
  assert.deepEqual(
    signals.map((signal) => signal?.aborted),
    [true],
  );
});
