import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { TEST_CERTIFICATE, TEST_KEY } from '../proto/distribution/test-certificate.ts';
import { digestOf } from '../proto/oci/digest.ts';
import { parseRepository } from '../proto/oci/name.ts';
import { loadConfig } from '../proto/ops/config.ts';
import { bindServer, formatListen } from '../proto/ops/listen.ts';
import { MetricsRegistry } from '../proto/ops/metrics.ts';
import { messageOf } from '../proto/std/errors.ts';
import { createFetchMetrics } from './fetch/metrics.ts';
import { AgentOptions } from './options.ts';
import { Registries } from './registries.ts';

const APP = parseRepository('team/app');
const BYTES = Buffer.from('blob');
const DIGEST = digestOf(BYTES);

async function serve(answer: RequestListener): Promise<{ host: string } & Disposable> {
  const server = createServer(answer);
  const host = formatListen(await bindServer(server, '127.0.0.1:0'));
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { host, [Symbol.dispose]: close };
}

async function open(config: object): Promise<Registries & AsyncDisposable> {
  const text = JSON.stringify(config);
  const options = loadConfig(AgentOptions, { text, env: {} });
  const metrics = createFetchMetrics(new MetricsRegistry({ prefix: 'flotilla_agent_' }));
  const registries = await Registries.open(options, { metrics, userAgent: 'test' });
  return Object.assign(registries, { [Symbol.asyncDispose]: () => registries.close() });
}

test('hub and upstreams redirect only to hosts that the configuration lists', async () => {
  using store = await serve((_request, response) => void response.end(BYTES));
  const location = `http://${store.host}/blob`;
  using hub = await serve((_request, response) => void response.writeHead(307, { location }).end());
  const url = `http://${hub.host}`;
  const upstream = { name: 'quay.example', url };
  await using strict = await open({ hub: { url }, upstreams: [upstream] });
  const sources = [strict.hubSource, strict.upstreamSource('quay.example')];
  for (const [i, setting] of ['hub', String.raw`upstreams\[0\]`].entries()) {
    const read = sources[i]?.small(APP, DIGEST, 'blob', {});
    const told = new RegExp(`${store.host}.* ${setting}\\.redirectHosts`);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(read ?? Promise.resolve(), (err) => told.test(messageOf(err)));
  }
  const redirectHosts = [store.host];
  await using listed = await open({
    hub: { url, redirectHosts },
    upstreams: [{ ...upstream, redirectHosts }],
  });
  assert.deepEqual(await listed.hubSource?.small(APP, DIGEST, 'blob', {}), BYTES);
  const other = listed.upstreamSource('quay.example');
  assert.deepEqual(await other?.small(APP, DIGEST, 'blob', {}), BYTES);
});

test('what is no host cannot be listed', () => {
  for (const entry of ['', '*', '*.', 'https://cdn.example', 'cdn.example/x', 'a b', '.example']) {
    const text = JSON.stringify({ hub: { redirectHosts: [entry] } });
    const load = (): unknown => loadConfig(AgentOptions, { text, env: {} });
    assert.throws(load, /hub\.redirectHosts\[0\]/, entry);
  }
  for (const entry of ['cdn.example', '*.cdn.example', 'CDN.example:8443', '[fd00::1]:5000']) {
    const text = JSON.stringify({ hub: { redirectHosts: [entry] } });
    assert.ok(loadConfig(AgentOptions, { text, env: {} }));
  }
});

test('a file without certificates is told, with its key, instead of trusting nobody', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-ca-'));
  t.after(() => rm(folder, { recursive: true }));
  const caFile = path.join(folder, 'ca.pem');
  const url = 'https://hub.example';
  for (const text of ['', 'no certificate', TEST_KEY]) {
    // oxlint-disable-next-line no-await-in-loop -- one file
    await writeFile(caFile, text);
    const message = /hub\.caFile: .*ca\.pem holds no PEM certificate/;
    // oxlint-disable-next-line no-await-in-loop -- one file
    await assert.rejects(open({ hub: { url, caFile } }), { code: 'CONFIG_INVALID', message });
  }
  await writeFile(caFile, `# ours\n${TEST_CERTIFICATE}`);
  await using registries = await open({ hub: { url, caFile } });
  assert.ok(registries.hubSource);
});
