import { test } from 'node:test';
import assert from 'node:assert/strict';
import { MetricsRegistry } from './metrics.ts';

test('names carry the prefix of their program and help text', async () => {
  const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const bytes = metrics.counter('sent_bytes_total', 'Bytes sent, by source.', ['source']);
  bytes.inc({ source: 'peer' }, 7);
  metrics.gauge('store_bytes', 'Bytes stored.', [], (gauge) => gauge.set(3));
  const seconds = metrics.histogram('pull_seconds', 'Time of a pull.', ['code'], [1, 2]);
  seconds.observe({ code: '200' }, 1.5);
  const text = await metrics.text();
  assert.match(text, /^flotilla_agent_sent_bytes_total\{source="peer"\} 7$/m);
  assert.match(text, /^flotilla_agent_store_bytes 3$/m);
  assert.match(text, /^flotilla_agent_pull_seconds_bucket\{le="2",code="200"\} 1$/m);
  assert.equal(metrics.definitions.length, 3);
});

test('unbounded labels, empty help, bad and double names are refused', () => {
  const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  metrics.gauge('a_bytes', 'A.');
  const bad: (() => unknown)[] = [
    () => metrics.gauge('a_bytes', 'Again.'),
    () => metrics.gauge('b_bytes', ' '),
    () => metrics.gauge('Bytes', 'Upper case.'),
    () => metrics.gauge('flotilla_hub_c', 'Prefixed already.'),
    () => metrics.counter('requests', 'No suffix.'),
    () => metrics.counter('d_total', 'Label.', ['digest']),
    () => metrics.counter('e_total', 'Label.', ['repository']),
    () => metrics.counter('f_total', 'Label.', ['peer_id']),
  ];
  for (const make of bad) assert.throws(make, { code: 'METRIC_INVALID' }, make.toString());
});

test('process metrics and build info are there on request', async () => {
  const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  metrics.collectProcess({ version: '1.2.3', revision: 'abc' });
  const text = await metrics.text();
  assert.match(text, /flotilla_hub_build_info\{version="1.2.3",revision="abc",node="[\d.]+"\} 1/);
  assert.match(text, /flotilla_hub_process_resident_memory_bytes \d/);
  assert.match(text, /flotilla_hub_nodejs_eventloop_lag_seconds /);
});
