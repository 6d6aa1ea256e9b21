import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createLogger } from './logger.ts';
import { MetricsRegistry } from './metrics.ts';
import { startOpsServer } from './ops-server.ts';
import type { Check } from './ops-server.ts';

const logger = createLogger({ level: 'silent', name: 'test' });

function ok(): Check {
  return { ok: true, reasons: [] };
}

function unready(): Check {
  return { ok: false, reasons: ['catalog: read-only'] };
}

function broken(): Check {
  throw new Error('broken check');
}

async function withServer(
  checks: { live?: () => Check; ready?: () => Check },
  use: (url: string) => Promise<void>,
): Promise<void> {
  const registry = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  registry.gauge('up', 'Up.').set(1);
  const server = await startOpsServer({
    listen: ['127.0.0.1:0'],
    registry,
    live: checks.live ?? ok,
    ready: checks.ready ?? ok,
    logger,
  });
  try {
    await use(server.urls[0] ?? '');
  } finally {
    await server.close();
  }
}

test('metrics, health and readiness are served, other paths and methods are not', async () => {
  await withServer({}, async (url) => {
    const metrics = await fetch(`${url}/metrics`);
    assert.equal(metrics.status, 200);
    assert.match(await metrics.text(), /flotilla_hub_up 1/);
    const health = await fetch(`${url}/healthz`);
    assert.deepEqual([health.status, await health.json()], [200, { status: 'ok', reasons: [] }]);
    assert.equal((await fetch(`${url}/nothing`)).status, 404);
    assert.equal((await fetch(`${url}/readyz`, { method: 'POST' })).status, 405);
    const head = await fetch(`${url}/readyz`, { method: 'HEAD' });
    assert.deepEqual([head.status, await head.text()], [200, '']);
  });
});

test('a program that is not ready, or whose check throws, answers 503 and says why', async () => {
  await withServer({ live: broken, ready: unready }, async (url) => {
    const readyz = await fetch(`${url}/readyz`);
    assert.equal(readyz.status, 503);
    assert.deepEqual(await readyz.json(), {
      status: 'unavailable',
      reasons: ['catalog: read-only'],
    });
    assert.equal((await fetch(`${url}/healthz`)).status, 503);
  });
});
