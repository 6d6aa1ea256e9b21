import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:https';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { getCACertificates, rootCertificates, setDefaultCACertificates } from 'node:tls';
import { TEST_CERTIFICATE, TEST_KEY } from '../../proto/distribution/test-certificate.ts';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { KeysResponse } from '../../proto/hubapi/schemas.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { HubApi } from './hub-api.ts';
import { loadIdentity } from './identity.ts';
import { createFleetMetrics } from './metrics.ts';

const IDLE = { online: false, enrolled: false, members: 0, expiresAtMs: 0 };
const keys = { name: 'keys', method: 'GET', path: FLEET_PATHS.keys, schema: KeysResponse } as const;

async function tlsHub(t: TestContext): Promise<string> {
  const server = createServer({ cert: TEST_CERTIFICATE, key: TEST_KEY }, (_request, response) => {
    response.end(JSON.stringify({ keyBundle: '' }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return `https://127.0.0.1:${address.port}`;
}

async function apiOf(t: TestContext, url: string, ca?: string): Promise<HubApi> {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-api-'));
  const identity = await loadIdentity(folder);
  const registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const metrics = createFleetMetrics(registry, () => IDLE);
  const api = new HubApi({ url, allowPlainHttp: false, ca, now: Date.now }, { identity, metrics });
  t.after(async () => {
    await api.close();
    await rm(folder, { recursive: true });
  });
  return api;
}

test('a hub is believed under the configured certificate, and under no other', async (t) => {
  const url = await tlsHub(t);
  const trusting = await apiOf(t, url, TEST_CERTIFICATE);
  assert.deepEqual(await trusting.call(keys, {}), { keyBundle: '' });
  const strict = await apiOf(t, url);
  await assert.rejects(strict.call(keys, {}), { code: 'HUB_UNREACHABLE' });
});

test('a configured certificate comes to those of the system, not in their place', async (t) => {
  const url = await tlsHub(t);
  const before = getCACertificates('default');
  setDefaultCACertificates([...before, TEST_CERTIFICATE]);
  t.after(() => setDefaultCACertificates(before));
  const api = await apiOf(t, url, rootCertificates[0]);
  assert.deepEqual(await api.call(keys, {}), { keyBundle: '' });
});
